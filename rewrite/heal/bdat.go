package heal

import (
	"bytes"
	"strings"

	"smtpshim/rewrite"
)

func bdatBlanks() rewrite.Rule {
	return rewrite.Rule{
		Name:  "bdat-blanks",
		Heals: "clients that send BDAT with more blanks than its syntax has",
		Doc: "RFC 3030 has one blank before the number and one before LAST, and servers disagree about further blanks. The rule removes " +
			"these, between the words and at the end. Any other BDAT that cannot be read ends the session, because its octets would be " +
			"read as commands.",
		Source: "RFC 3030, 2",
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Line: func(_ rewrite.Session, octets []byte) []byte { return oneBlankEach(octets) }}, nil
		},
	}
}

// oneBlankEach returns a BDAT with one blank before each argument; nil if more than its
// blanks is wrong.
func oneBlankEach(octets []byte) []byte {
	line, ok := bytes.CutSuffix(octets, []byte("\r\n"))
	if !ok || bytes.HasPrefix(line, []byte(" ")) || bytes.ContainsAny(line, "\r\n\x00\t\v\f") {
		return nil
	}
	words := strings.FieldsFunc(string(line), func(c rune) bool { return c == ' ' })
	if len(words) < 2 || len(words) > 3 || !strings.EqualFold(words[0], "BDAT") || strings.Trim(words[1], "0123456789") != "" ||
		len(words) == 3 && !strings.EqualFold(words[2], "LAST") {
		return nil
	}
	return []byte(strings.Join(words, " "))
}
