package rewrite

import "bytes"

// HasWord reports whether text contains word as a whole word: "(ESMTP)" contains ESMTP,
// "ESMTPS" does not. word must be in upper case, and consist of letters and digits. The
// case of text does not matter.
func HasWord(text []byte, word string) bool {
	for w := range bytes.FieldsFuncSeq(text, isPunctuation) {
		if foldEqual(w, word) {
			return true
		}
	}
	return false
}

// isPunctuation reports whether r may surround a word: "(ESMTP)" contains the word ESMTP,
// "ESMTPS" does not.
func isPunctuation(r rune) bool {
	return r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z' && r < 0x80
}

// ehloKnown is the key under which a server is remembered, for a day, that has accepted
// EHLO without having ESMTP in its greeting.
const (
	ehloKnown     = "ehlo"
	ehloKnownRest = 24 * 60 * 60
)

// knowsEHLO records that the server has accepted EHLO.
func (d *Dialogue) knowsEHLO() {
	if !d.seen.esmtp && d.memory != nil {
		d.memory.Remember(ehloKnown, ehloKnownRest)
	}
	d.seen.esmtp = true
}

// speaksESMTP implements [Session.SpeaksESMTP].
func (d *Dialogue) speaksESMTP() bool {
	return d.seen.esmtp || d.memory != nil && d.memory.Remembers(ehloKnown)
}

// SpeaksESMTP reports whether the server is known to support EHLO: its greeting has the
// word ESMTP, or it has accepted EHLO in this session or within the last day. If such a
// server hangs up on EHLO, there is another reason, and a rule must not go on with
// HELO. HELO would give up TLS and AUTH, and anybody who can cut a connection could
// cause that.
func (s Session) SpeaksESMTP() bool { return s.d.speaksESMTP() }
