package rewrite

import "bytes"

// maxText is the longest line of a message, in octets without its CRLF, and without the
// dot that DATA adds to a line that begins with one (RFC 5321, 4.5.3.1.6).
const maxText = 998

// Lines finds lines of a message that are too long. Measure only counts them; Fold
// breaks them. The caller passes the text of one message, in order, to one of the two.
// In the text CRLF is the only line end, and a dot at the start of a line is doubled:
// see [Filter]. The zero Lines is ready for the first octet.
type Lines struct {
	// Max is the length of the longest line that is not too long, in octets without
	// CRLF and without the dot that doubles another; 0: 998. 1 counts as 2, because a
	// line that follows a break begins with a blank.
	Max int

	length int // octets of the present line so far
	begun  bool
	long   int64
}

// Long returns how many lines so far were too long for Measure (RFC 5321, 4.5.3.1.6),
// or how many times Fold has broken a line.
func (l *Lines) Long() int64 { return l.long }

func (l *Lines) most() int {
	if l.Max > 0 {
		return max(l.Max, 2)
	}
	return maxText
}

// Measure reads src, the next octets of the text, and adds the lines that are too long
// to the count that Long returns. A line may be spread over several calls.
func (l *Lines) Measure(src []byte) {
	for len(src) > 0 {
		l.begin(src[0])
		end := bytes.IndexByte(src, '\n')
		if end < 0 {
			l.grow(len(bytes.TrimSuffix(src, crlf[:1])))
			return
		}
		l.grow(max(end-1, 0))
		l.length, l.begun = 0, false
		src = src[end+1:]
	}
}

// begin takes the first octet of a piece of a line.
func (l *Lines) begin(first byte) {
	if !l.begun && first == '.' {
		l.length = -1
	}
	l.begun = true
}

func (l *Lines) grow(n int) {
	if most := l.most(); l.length <= most && l.length+n > most {
		l.long++
	}
	l.length += n
}

// Fold takes src, the next octets of the text. It breaks each line that is too long
// after Max octets, by CRLF and a blank, as a header field is folded. The rest counts
// as a line that begins with the blank. A line may be spread over several calls. If
// nothing is broken, the result is src. Otherwise it is made in dst[:0], which must not
// overlap src.
func (l *Lines) Fold(dst, src []byte) []byte {
	out := dst[:0]
	folded := false
	for rest := src; len(rest) > 0; {
		l.begin(rest[0])
		n := bytes.IndexByte(rest, '\n') + 1
		text := n - len("\r\n")
		if n == 0 {
			n, text = len(rest), len(rest)
			if rest[n-1] == '\r' {
				text--
			}
		}
		if !folded && l.length+text > l.most() {
			out, folded = append(out, src[:len(src)-len(rest)]...), true
		}
		if folded {
			out = l.appendFolded(out, rest[:max(text, 0)])
			out = append(out, rest[max(text, 0):n]...)
		} else {
			l.length += max(text, 0)
		}
		if rest[n-1] == '\n' {
			l.length, l.begun = 0, false
		}
		rest = rest[n:]
	}
	if !folded {
		return src
	}
	return out
}

// appendFolded appends text to out, and breaks it wherever the line is full.
func (l *Lines) appendFolded(out, text []byte) []byte {
	most := l.most()
	for l.length+len(text) > most {
		room := most - l.length
		out = append(append(out, text[:room]...), "\r\n "...)
		text = text[room:]
		l.length = 1
		l.long++
	}
	l.length += len(text)
	return append(out, text...)
}
