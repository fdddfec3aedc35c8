package rewrite

// HasWord reports whether text contains word as a whole word: "(ESMTP)" contains ESMTP,
// "ESMTPS" does not. word must be in upper case, and consist of letters and digits. The
// case of text does not matter.
func HasWord[T string | []byte](text T, word string) bool {
	for start, end := 0, len(word); end <= len(text); start, end = start+1, end+1 {
		if (start == 0 || isPunctuation(text[start-1])) && (end == len(text) || isPunctuation(text[end])) && foldEqual(text[start:end], word) {
			return true
		}
	}
	return false
}

// isPunctuation reports whether c may surround a word: "(ESMTP)" contains the word ESMTP,
// "ESMTPS" does not. Octets of letters beyond ASCII may not.
func isPunctuation(c byte) bool {
	return c < '0' || c > '9' && c < 'A' || c > 'Z' && c < 'a' || c > 'z' && c < 0x80
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
