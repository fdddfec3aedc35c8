package rewrite

import (
	"bytes"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// A pattern is a regular expression (RE2) that few texts match.
type pattern struct {
	re *regexp.Regexp

	// literals are octets of which every text that matches has at least one. Finding
	// that a text has none costs much less than running the expression. None: it is
	// always run.
	literals [][]byte
}

func newPattern(text string) (*pattern, error) {
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	tree, err := syntax.Parse(text, syntax.Perl) // as regexp.Compile does
	if err != nil {
		return nil, err
	}
	return &pattern{re, literalsOf(tree)}, nil
}

// matches reports whether a text matches. Nothing matches nil.
func (p *pattern) matches(text []byte) bool {
	if p == nil {
		return false
	}
	for _, literal := range p.literals {
		if bytes.Contains(text, literal) {
			return p.re.MatchString(string(text)) // a copy: text can stay on the caller's stack
		}
	}
	return p.literals == nil && p.re.MatchString(string(text))
}

// literalsOf returns the literals of which every text that matches an expression has at
// least one; nil if there may be none.
func literalsOf(re *syntax.Regexp) (literals [][]byte) {
	switch re.Op {
	case syntax.OpLiteral:
		text := string(re.Rune)
		if re.Flags&syntax.FoldCase != 0 || !isASCIIText(text) {
			return nil // U+FFFD matches octets that are no UTF-8
		}
		if later := strings.TrimLeft(text, "\n"); later != "" {
			text = later // a search stops at each LF
		}
		return [][]byte{[]byte(text)}
	case syntax.OpCapture, syntax.OpPlus:
		return literalsOf(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return literalsOf(re.Sub[0])
		}
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if found := literalsOf(sub); isRarer(found, literals) {
				literals = found
			}
		}
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			found := literalsOf(sub)
			if found == nil {
				return nil
			}
			literals = append(literals, found...)
		}
	}
	return literals
}

// isRarer reports whether fewer texts may have one of literals than one of others.
func isRarer(literals, others [][]byte) bool {
	if literals == nil || others == nil {
		return literals != nil
	}
	return shortest(literals) > shortest(others)
}

func shortest(literals [][]byte) int {
	n := len(literals[0])
	for _, l := range literals {
		n = min(n, len(l))
	}
	return n
}

func isASCIIText(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
