package rewrite

import (
	"bytes"
	"errors"
	"strings"
)

// A Reply is a whole reply of a server, or of a rule in place of the server (RFC 5321,
// 4.2).
type Reply struct {
	Code  int
	Lines []string // the text of each line, without code and separator; at least one
}

var (
	errNotReply = errors.New("no line begins with a code from 200 to 599 and a blank or hyphen")
	errStray    = errors.New("a reply with a bare CR, a bare LF or a NUL in it")
	errMixed    = errors.New("a reply with different codes in its lines")
)

// A Scan is what ScanReply has found: a whole reply, or the beginning of one.
type Scan struct {
	N       int  // octets of the reply; 0: its last line has not come
	Lines   int  // whole lines so far
	Longest int  // octets of the longest line so far, with its line end if that has come
	Mixed   bool // the lines have different codes (RFC 5321, 4.2.1)
}

// ScanReply looks for a whole reply at the beginning of b, line by line. Only CRLF ends
// a line. s says what it has found; s.N is 0 if more octets are needed. err is not nil
// if ScanReply meets a line that cannot be a line of a reply.
func ScanReply(b []byte) (s Scan, err error) {
	for at := 0; ; {
		length := bytes.IndexByte(b[at:], '\n') + 1
		if length == 0 {
			s.Longest = max(s.Longest, len(b)-at)
			return s, nil
		}
		text, ok := cutCRLF(b[at : at+length])
		switch {
		case !ok:
			return s, errStray
		case !hasCode(text):
			return s, errNotReply
		}
		s.Lines++
		s.Longest = max(s.Longest, length)
		s.Mixed = s.Mixed || string(text[:3]) != string(b[:3])
		if at += length; len(text) == 3 || text[3] == ' ' {
			s.N = at
			return s, nil
		}
	}
}

func hasCode(line []byte) bool {
	return len(line) >= 3 && '2' <= line[0] && line[0] <= '5' && isDigit(line[1]) && isDigit(line[2]) &&
		(len(line) == 3 || line[3] == ' ' || line[3] == '-')
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// replyCode returns the code of a whole reply that ScanReply has found. It is an error if
// the lines have different codes (RFC 5321, 4.2.1).
func replyCode(raw []byte) (int, error) {
	if len(raw) < 5 || !hasCode(raw[:3]) {
		return 0, errNotReply
	}
	code := raw[:3]
	for rest := raw; len(rest) > 0; {
		if !bytes.HasPrefix(rest, code) {
			return 0, errMixed
		}
		rest = rest[bytes.IndexByte(rest, '\n')+1:]
	}
	return codeOf(raw), nil
}

// codeOf returns the code of a reply for which replyCode returns no error.
func codeOf(raw []byte) int {
	if len(raw) < 3 {
		return 0
	}
	return int(raw[0]-'0')*100 + int(raw[1]-'0')*10 + int(raw[2]-'0')
}

// parseReply parses a whole reply.
func parseReply(raw []byte) Reply {
	r := Reply{Code: codeOf(raw), Lines: make([]string, 0, bytes.Count(raw, []byte("\n")))}
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSuffix(line, "\r\n")
		if len(line) > 4 {
			r.Lines = append(r.Lines, line[4:])
		} else {
			r.Lines = append(r.Lines, "")
		}
	}
	return r
}

// ordinaryText is the length of the text of a reply, in octets, that few are longer than.
const ordinaryText = 512

// textOf appends the text of a whole reply to b: its lines without codes, and LF between
// them.
func textOf(b, raw []byte) []byte {
	separator := ""
	for line := range bytes.Lines(raw) {
		b, separator = append(b, separator...), "\n"
		line = bytes.TrimSuffix(line, crlf)
		b = append(b, line[min(len(line), 4):]...)
	}
	return b
}

// appendTo appends the reply to b in wire format.
func (r Reply) appendTo(b []byte) []byte {
	for i, text := range r.Lines {
		b = append(b, byte('0'+r.Code/100), byte('0'+r.Code/10%10), byte('0'+r.Code%10))
		if i < len(r.Lines)-1 {
			b = append(b, '-')
		} else {
			b = append(b, ' ')
		}
		b = append(append(b, text...), crlf...)
	}
	return b
}

func (r Reply) clone() Reply {
	return Reply{r.Code, append([]string(nil), r.Lines...)}
}

// equal reports whether r and o have the same wire format.
func (r Reply) equal(o Reply) bool {
	if r.Code != o.Code || len(r.Lines) != len(o.Lines) {
		return false
	}
	for i := range r.Lines {
		if r.Lines[i] != o.Lines[i] {
			return false
		}
	}
	return true
}
