package heal

import (
	"bytes"

	"smtpshim/rewrite"
)

// A replyLine is a line of the server that ends with LF. It may be malformed.
type replyLine struct {
	whole []byte // with its line end
	text  []byte // without trailing CR, LF and NUL
	code  []byte // the three digits at its beginning; nil: none
	junk  int    // octets before the code that are not text
	hides bool   // another code follows a bare CR, so some readers see two replies
}

// cutLine splits octets after the first line. ok is false if there is no LF.
func cutLine(octets []byte) (l replyLine, rest []byte, ok bool) {
	n := bytes.IndexByte(octets, '\n') + 1
	if n == 0 {
		return replyLine{}, octets, false
	}
	l.whole = octets[:n]
	l.text = bytes.TrimRight(l.whole, "\r\n\x00")
	l.code, l.junk = codeOf(l.text)
	for rest := l.text[l.junk+len(l.code):]; !l.hides; {
		at := bytes.IndexByte(rest, '\r')
		if at < 0 {
			break
		}
		rest = rest[at+1:]
		code, _ := codeOf(rest)
		l.hides = code != nil
	}
	return l, octets[n:], true
}

// codeOf returns the code at the beginning of a text, and the number of octets before it
// that are not text.
func codeOf(text []byte) (code []byte, junk int) {
	junk = max(0, bytes.IndexFunc(text, isText))
	if code = text[junk:]; len(code) >= 3 && '2' <= code[0] && code[0] <= '5' && isDigit(code[1]) && isDigit(code[2]) {
		return code[:3], junk
	}
	return nil, junk
}

func isText(c rune) bool { return ' ' < c && c <= '~' }

// isBlank reports whether the line has no text.
func (l replyLine) isBlank() bool { return bytes.IndexFunc(l.text, isText) < 0 }

// behind returns the text after the code.
func (l replyLine) behind() []byte { return l.text[l.junk+len(l.code):] }

// isReadable reports whether the line has one code, and the code is not part of a longer
// number.
func (l replyLine) isReadable() bool {
	b := l.behind()
	return l.code != nil && !l.hides && (len(b) == 0 || !isDigit(b[0]))
}

// goesOn reports whether the line announces another one (RFC 5321, 4.2.1).
func (l replyLine) goesOn() bool { b := l.behind(); return len(b) > 0 && b[0] == '-' }

// firstReply parses the first reply in octets. All its lines have a readable code. whole
// reports whether its last line is there. n is the number of octets of its lines so far.
// ok is false if octets do not begin with a reply.
func firstReply(octets []byte) (lines []replyLine, n int, whole, ok bool) {
	lines = make([]replyLine, 0, min(bytes.Count(octets, []byte{'\n'}), 8))
	for rest := octets; ; {
		l, behind, ended := cutLine(rest)
		switch {
		case !ended:
			return lines, n, false, len(lines) > 0
		case !l.isReadable():
			return nil, 0, false, false
		}
		lines, rest = append(lines, l), behind
		n += len(l.whole)
		if !l.goesOn() {
			return lines, n, true, true
		}
	}
}

// isWellFormed reports whether octets are exactly one well-formed reply.
func isWellFormed(octets []byte) bool {
	scan, err := rewrite.ScanReply(octets)
	return err == nil && scan.N > 0 && !scan.Mixed
}

// classOf returns the first digit of the worst code in lines.
func classOf(lines []replyLine) (worst byte) {
	for _, l := range lines {
		worst = max(worst, l.code[0])
	}
	return worst
}
