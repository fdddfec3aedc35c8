package rewrite

import "bytes"

// HasWord reports whether a text has a word, which is given in upper case, in any case.
// The word ESMTP in a greeting promises that the server knows EHLO (RFC 1869, 4.1.1).
func HasWord(text []byte, word string) bool {
	for w := range bytes.FieldsFuncSeq(text, isPunctuation) {
		if foldEqual(w, word) {
			return true
		}
	}
	return false
}

// isPunctuation says what may surround a word: "(ESMTP)" has it, "ESMTPS" not.
func isPunctuation(r rune) bool {
	return r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z' && r < 0x80
}

// ehloKnown is remembered, for a day, of a server that has answered EHLO well and does
// not say in its greeting that it would.
const (
	ehloKnown     = "ehlo"
	ehloKnownRest = 24 * 60 * 60
)

// knowsEHLO notes that the server has answered EHLO well.
func (d *Dialogue) knowsEHLO() {
	if !d.seen.esmtp && d.memory != nil {
		d.memory.Remember(ehloKnown, ehloKnownRest)
	}
	d.seen.esmtp = true
}

// speaksESMTP is [Session.SpeaksESMTP].
func (d *Dialogue) speaksESMTP() bool {
	return d.seen.esmtp || d.memory != nil && d.memory.Remembers(ehloKnown)
}

// SpeaksESMTP reports whether the server is known to know EHLO: it has greeted with the
// word ESMTP, or answered EHLO well in this session or within a day before. If it hangs
// up on EHLO, that says nothing of EHLO: HELO would give up TLS and AUTH, and whoever can
// cut a connection could have that.
func (s Session) SpeaksESMTP() bool { return s.d.speaksESMTP() }
