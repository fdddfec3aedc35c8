package config

import (
	"bytes"
	"regexp"
	"strings"
)

// notText returns what is wrong with a file in another encoding than UTF-8; "": nothing.
func notText(text []byte) string {
	begin := text[:min(4, len(text))]
	switch {
	case bytes.HasPrefix(begin, []byte("\xff\xfe")), bytes.HasPrefix(begin, []byte("\xfe\xff")), bytes.IndexByte(begin, 0) >= 0:
		return "this file is UTF-16; save it as UTF-8"
	case bytes.IndexByte(text, 0) >= 0:
		return "there is a NUL in it; a configuration is text"
	}
	return ""
}

// plainWords replaces what the decoder says about frequent mistakes.
var plainWords = []struct {
	said *regexp.Regexp
	mean string
}{
	{regexp.MustCompile(`^expected a comma \(','\) or array terminator`), `a comma is missing in the array, or its "]"`},
	{regexp.MustCompile(`^expected a comma or an inline table terminator`), `a comma is missing in the table, or its "}"`},
	{regexp.MustCompile(`^unexpected comma`), "there is a comma without a value before it"},
	{regexp.MustCompile(`^expected a top-level item to end .* got ',' `), "the comma at the end has to go: each key has a line of its own"},
	{regexp.MustCompile(`^expected a top-level item to end .* got ('.*') `), "after the value there may only be a comment, not $1"},
	{regexp.MustCompile(`^(?:strings cannot contain newlines|unexpected EOF; expected ["'])`), "a text has quotes at one end only"},
	{regexp.MustCompile(`^(?:unexpected EOF; expected value|expected value but found '\\n')`), "a value is missing after the ="},
	{regexp.MustCompile(`^expected value but found (\S+) `), "a value is wanted, not $1"},
	{regexp.MustCompile(`^unexpected '=': key name appears blank`), "a key is missing before the ="},
	{regexp.MustCompile(`^(?:expected '\.' or '='|unexpected EOF; expected key separator)`), "a key is wanted, then = and its value"},
	{regexp.MustCompile(`^unexpected (?:end of table name|table separator)`), "the brackets need the name of a table between them"},
	{regexp.MustCompile(`^(?:expected '\.' or '\]'|expected end of table array name)`), "the name of a table ends with its brackets"},
	{regexp.MustCompile(`^Key '(.*)' has already been defined`), "$1 is there twice; once is enough"},
	{regexp.MustCompile(`^Key '(.*)' was already created`), "$1 is there twice, as two different things"},
	{regexp.MustCompile(`^invalid escape|hexadecimal digits after`), `a backslash between " and " has a meaning of its own; write two for each, or '...' in place of "..."`},
	{regexp.MustCompile(`^invalid UTF-8 byte: (\S+)`), "octet $1 is not UTF-8; save the file as UTF-8"},
	{regexp.MustCompile(`^TOML files cannot contain control characters: '(.*)'`), "a character that cannot be seen is in the line ($1); write the line anew"},
	{regexp.MustCompile(`^Invalid integer (".*"): cannot have leading zeroes`), "number $1 must not begin with 0"},
	{regexp.MustCompile(`^invalid datetime: (".*")`), "$1 is no day or time"},
}

// inPlainWords returns the decoder's message, in plain words if it is about a frequent
// mistake.
func inPlainWords(said string) string {
	for _, w := range plainWords {
		if at := w.said.FindStringSubmatchIndex(said); at != nil {
			return string(w.said.ExpandString(nil, w.mean, said, at))
		}
	}
	return said
}

// curly are the quotes that word processors and web pages write.
const curly = "“”„‟‘’‚‛«»"

// hintCurly returns a hint if a line has such quotes in place of plain ones; "": it does
// not.
func hintCurly(line string) string {
	at := strings.IndexAny(line, "“”„‟")
	if single := strings.IndexAny(line, curly); at < 0 && single >= 0 && !strings.ContainsAny(line[:single], `"'`) {
		at = single // otherwise it may be an apostrophe
	}
	if at < 0 || strings.Contains(line[:at], "#") {
		return ""
	}
	return `these are curly quotes; write plain ones: "`
}
