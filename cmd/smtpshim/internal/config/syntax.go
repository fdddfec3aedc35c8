package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// decode decodes TOML. A number that is too large for int64 becomes the largest int64, so
// that it is out of range like any other, and later mistakes are found too. vast has such
// numbers as they were written, by line.
func decode(text string) (values map[string]any, vast map[int][]string, err error) {
	vast = map[int][]string{}
	for found := 0; ; found++ {
		values = map[string]any{}
		_, err := toml.Decode(text, &values)
		at, ok := errors.AsType[toml.ParseError](err)
		if !ok || !strings.Contains(at.Message, " is out of range for ") || found == maxVast {
			return values, vast, err
		}
		from, to := at.Position.Start, at.Position.Start+at.Position.Len
		if from < 0 || to > len(text) || from >= to {
			return values, vast, err
		}
		literal, instead := text[from:to], strconv.FormatInt(math.MaxInt64, 10)
		if strings.HasPrefix(literal, "-") {
			instead = strconv.FormatInt(math.MinInt64, 10)
		}
		if line := lineAt(text, from); !slices.Contains(vast[line], literal) {
			vast[line] = append(vast[line], literal)
		}
		text = text[:from] + instead + text[to:]
	}
}

// maxVast is the largest number of too large numbers in a file. For each of them the file
// is decoded again.
const maxVast = 100

// asWritten replaces the largest int64 in a text by the number in the file. If a line has
// several, it is not known which is meant.
func (s *source) asWritten(line int, text string) string {
	literals, ok := s.vast[line]
	if !ok {
		return text
	}
	literal := strings.Join(literals, " or ")
	return strings.NewReplacer(strconv.FormatInt(math.MaxInt64, 10), literal, strconv.FormatInt(math.MinInt64, 10), literal).Replace(text)
}

// lineAt returns the line at an offset of a text.
func lineAt(text string, offset int) int {
	return 1 + strings.Count(text[:max(0, min(offset, len(text)))], "\n")
}

// notTOML returns the mistake in a text that is not TOML, and its line. The decoder
// reports the line that it has reached, which may be after that of the mistake.
func notTOML(path, text string, err error) Mistake {
	at, ok := errors.AsType[toml.ParseError](err)
	if !ok {
		return Mistake{File: path, Text: "not TOML: " + err.Error()}
	}
	if hint := notText([]byte(text)); hint != "" {
		return Mistake{File: path, Text: "not TOML: " + hint}
	}
	line := lineAt(text, at.Position.Start+at.Position.Len-1)
	if lines := strings.Split(text, "\n"); line <= len(lines) {
		if hint := hintCurly(lines[line-1]); hint != "" {
			return Mistake{File: path, Line: line, Text: "not TOML: " + hint}
		}
	}
	if begun, hint := unfinished(text, line, at.Message); hint != "" {
		return Mistake{File: path, Line: begun, Text: "not TOML: " + hint}
	}
	hint := hintQuotes(text, line)
	if hint == "" || strings.HasPrefix(at.Message, `expected '.' or '='`) {
		hint = inPlainWords(at.Message)
	}
	return Mistake{File: path, Line: line, Text: "not TOML: " + hint}
}

// headerLine matches a line that begins a table, with any brackets, and a comment after
// it.
var headerLine = regexp.MustCompile(`^(\[+)[ \t]*([^\[\]#"',]*?)[ \t]*(\]*)[ \t]*(#.*)?$`)

// unfinished looks for a string or table header that begins on a line up to that of the
// decoder's complaint and is not finished. hint says how to finish it; "" if there is
// none.
func unfinished(text string, line int, complaint string) (begun int, hint string) {
	s := keyScanner{text: text, line: 1, index: keyIndex{}, items: map[string]int{}}
	for s.skipBlank(); s.text != "" && s.line <= line; s.skipBlank() {
		begun = s.line
		first, _, _ := strings.Cut(s.text, "\n")
		if hint := hintBrackets(strings.TrimRight(first, " \t\r")); hint != "" {
			return begun, hint
		}
		if s.text[0] == '[' {
			s.skipLine()
			continue
		}
		s.keyValue()
		if ended := s.line < line || s.line == line && s.text != ""; ended || begun == line {
			continue
		}
		switch {
		case strings.Contains(complaint, "array terminator"):
			return begun, fmt.Sprintf(`the array that begins here is not closed: a "]", or a comma, is missing before line %d`, line)
		case strings.HasPrefix(complaint, "unexpected EOF; expected '"):
			return begun, "the text that begins here is not closed: its quotes are missing at its end"
		case strings.Contains(complaint, "table terminator"):
			return begun, fmt.Sprintf(`the table that begins here is not closed: a "}", or a comma, is missing before line %d`, line)
		}
	}
	return 0, ""
}

// arrays are the last parts of the names of arrays of tables.
var arrays = []string{"account", "route", "login", "replace", "weak"}

// hintBrackets returns how to write a line that begins a table with wrong brackets; "":
// the line is not one.
func hintBrackets(line string) string {
	found := headerLine.FindStringSubmatch(line)
	if found == nil || len(found[1]) == len(found[3]) && len(found[1]) <= 2 {
		return ""
	}
	n, name := 1, found[2]
	if slices.Contains(arrays, name[strings.LastIndex(name, ".")+1:]) {
		n = 2
	}
	return fmt.Sprintf("%s has brackets that do not match; write %s%s%s", strings.TrimSpace(found[1]+found[2]+found[3]),
		strings.Repeat("[", n), name, strings.Repeat("]", n))
}
