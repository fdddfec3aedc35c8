package rewrite

import (
	"slices"
	"strings"
)

// A Path is a MAIL or RCPT command in its parts (RFC 5321, 4.1.1.2 and 4.1.1.3).
type Path struct {
	Prefix  string   // the text before the address, as spelled, such as "MAIL FROM:"
	Address string   // with its angle brackets, if it has them
	Params  []string // such as "SIZE=1000" or "BODY=8BITMIME"
}

// Keyword returns the keyword of param, a parameter of MAIL or RCPT, in upper case. For
// "size=1000" it is "SIZE".
func (Path) Keyword(param string) string {
	name, _, _ := strings.Cut(param, "=")
	return strings.ToUpper(name)
}

// String returns the command line that p stands for, without CRLF.
func (p Path) String() string {
	return strings.TrimRight(p.Prefix+p.Address+" "+strings.Join(p.Params, " "), " ")
}

// ParsePath parses line, a MAIL or RCPT command without its CRLF. ok is false if it is
// not clear which part of line is the address.
func ParsePath(line []byte) (p Path, ok bool) {
	colon := strings.IndexByte(string(line), ':')
	if colon < 0 || strings.ContainsAny(string(line[:colon]), `<"`) {
		return Path{}, false
	}
	start := colon + 1
	for start < len(line) && isBlank(line[start]) {
		start++
	}
	end := addressEnd(line, start)
	if end < 0 || end == start {
		return Path{}, false
	}
	p = Path{Prefix: string(line[:start]), Address: string(line[start:end])}
	rest := string(line[end:])
	if rest != "" && !isBlank(rest[0]) {
		return Path{}, false
	}
	p.Params = strings.FieldsFunc(rest, func(c rune) bool { return strings.ContainsRune(blanks, c) })
	return p, true
}

// addressEnd returns the index behind the address that begins at start: behind its ">",
// unless that is inside a quoted string (RFC 5321, 4.1.2), or at the next blank if the
// address has no brackets. It returns -1 if a bracket or a quoted string is not closed.
func addressEnd(line []byte, start int) int {
	if start == len(line) || line[start] != '<' {
		for start < len(line) && !isBlank(line[start]) {
			start++
		}
		return start
	}
	quoted := false
	for i := start; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			return i + 1
		}
	}
	return -1
}

// saysREQUIRETLS reports whether a MAIL command has the parameter REQUIRETLS, in any case
// (RFC 8689, 2). If the parameters cannot be told from the address, it looks at every
// word of the line.
func saysREQUIRETLS(line []byte) bool {
	if !containsFold(line, "REQUIRETLS") {
		return false
	}
	p, ok := ParsePath(line)
	if !ok {
		p.Params = strings.FieldsFunc(string(line), func(c rune) bool { return strings.ContainsRune(blanks+":<>", c) })
	}
	return slices.ContainsFunc(p.Params, func(param string) bool { return p.Keyword(param) == "REQUIRETLS" })
}

// containsFold reports whether line contains word, ignoring case. word must be in upper
// case.
func containsFold(line []byte, word string) bool {
	for len(line) >= len(word) {
		if foldEqual(line[:len(word)], word) {
			return true
		}
		line = line[1:]
	}
	return false
}
