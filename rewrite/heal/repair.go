package heal

import (
	"bytes"

	"smtpshim/rewrite"
)

// A replyLine is a line of the server's that ends with LF, however ill formed.
type replyLine struct {
	whole []byte // with its end
	text  []byte // without CR, LF and NUL at its end
	code  []byte // the three digits with which it begins; nil: none
	junk  int    // octets before the code that are no text
	hides bool   // a code stands behind a bare CR: some readers see two replies
}

// cutLine takes the first line off octets. It is false if there is no LF.
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

// codeOf returns the code with which a text begins, and how many octets before it
// are no text.
func codeOf(text []byte) (code []byte, junk int) {
	junk = max(0, bytes.IndexFunc(text, isText))
	if code = text[junk:]; len(code) >= 3 && '2' <= code[0] && code[0] <= '5' && isDigit(code[1]) && isDigit(code[2]) {
		return code[:3], junk
	}
	return nil, junk
}

func isText(c rune) bool { return ' ' < c && c <= '~' }

// isBlank reports whether a line has no text in it.
func (l replyLine) isBlank() bool { return bytes.IndexFunc(l.text, isText) < 0 }

// behind is what follows the code.
func (l replyLine) behind() []byte { return l.text[l.junk+len(l.code):] }

// isReadable reports whether the line has one code, which is no part of a longer
// number.
func (l replyLine) isReadable() bool {
	b := l.behind()
	return l.code != nil && !l.hides && (len(b) == 0 || !isDigit(b[0]))
}

// goesOn reports whether the line says that another follows (RFC 5321, 4.2.1).
func (l replyLine) goesOn() bool { b := l.behind(); return len(b) > 0 && b[0] == '-' }

// firstReply takes the first reply apart. All its lines have a readable code.
// whole is false if its last line is not there yet, n the octets of its lines so
// far. ok is false if it is no reply.
func firstReply(octets []byte) (lines []replyLine, n int, whole, ok bool) {
	lines = make([]replyLine, 0, 8)
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

// isWellFormed reports whether all is well with the first reply, and no more is there.
func isWellFormed(octets []byte) bool {
	scan, err := rewrite.ScanReply(octets)
	return err == nil && scan.N > 0 && !scan.Mixed
}

// classOf is the class of the worst code of lines.
func classOf(lines []replyLine) (worst byte) {
	for _, l := range lines {
		worst = max(worst, l.code[0])
	}
	return worst
}
