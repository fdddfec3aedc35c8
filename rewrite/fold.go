package rewrite

import "bytes"

// maxText is the longest line of a message, in octets without its CRLF, and without the
// dot that DATA adds to a line that begins with one (RFC 5321, 4.5.3.1.6).
const maxText = 998

// Lines measures and folds the lines of a message. Its input is the output of a Message,
// so that CRLF is the only line end. The zero Lines is ready for the first octet.
type Lines struct {
	Max int // longest line in octets without its CRLF; 0: 998

	length int // octets of the present line so far
	begun  bool
	long   int64
}

// Long returns how many lines so far were longer than Max (RFC 5321, 4.5.3.1.6).
func (l *Lines) Long() int64 { return l.long }

func (l *Lines) most() int {
	if l.Max > 0 {
		return l.Max
	}
	return maxText
}

// Measure reads src, the next octets of the message, and adds the lines that are too
// long to the count that Long returns. A line may be spread over several calls.
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

// Fold returns src with each line that is too long broken by CRLF and a blank, as a
// header field is folded. If no line is too long, the result is src. Otherwise it is made
// in dst[:0], which must not overlap src. The rest of a broken line never begins with a
// dot.
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
