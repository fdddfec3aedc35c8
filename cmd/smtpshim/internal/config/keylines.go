package config

import (
	"regexp"
	"strconv"
	"strings"
)

// A keyIndex maps keys and tables of a TOML file to their lines. The decoder reports the
// positions of syntax errors, but not of what it has decoded.
//
// Paths are as in "route[0].client_tls.mode": tables of an array are numbered, and keys
// that are not bare are quoted. Keys inside an array or an inline table are not indexed;
// they are at the line where that begins.
type keyIndex map[string]int

// line returns the line of path, or of the nearest table around it; 0 if there is none.
func (x keyIndex) line(path string) int {
	for {
		if n, ok := x[path]; ok || path == "" {
			return n
		}
		path = parent(path)
	}
}

var (
	bareKey  = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	lastPart = regexp.MustCompile(`(^|\.)("([^"\\]|\\.)*"|[A-Za-z0-9_-]+)$|\[\d+\]$`)
)

func join(path, key string) string {
	if !bareKey.MatchString(key) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func parent(path string) string { return path[:len(path)-len(lastPart.FindString(path))] }

// indexKeys indexes text, which the decoder must accept.
func indexKeys(text string) keyIndex {
	s := keyScanner{text: text, line: 1, index: keyIndex{}, items: map[string]int{}}
	s.all()
	return s.index
}

type keyScanner struct {
	text  string // the text that remains to be read
	line  int
	table string         // path of the present table
	items map[string]int // number of tables so far in each array of tables
	index keyIndex

	length  int         // of the whole text
	offsets offsetIndex // nil: not wanted
}

// all reads the text to its end.
func (s *keyScanner) all() {
	for s.skipBlank(); s.text != ""; s.skipBlank() {
		if s.text[0] == '[' {
			s.header()
		} else {
			s.keyValue()
		}
	}
}

// header reads [a.b] or [[a.b]].
func (s *keyScanner) header() {
	isArray := strings.HasPrefix(s.text, "[[")
	line, begin := s.line, s.length-len(s.text)
	s.skip(1)
	if isArray {
		s.skip(1)
	}
	keys := s.keys()
	s.skipLine()

	path := ""
	for i, key := range keys {
		path = join(path, key)
		if isArray && i == len(keys)-1 {
			s.items[path]++
		}
		s.record(path, line, begin)
		if n := s.items[path]; n > 0 {
			path = item(path, n-1)
			s.record(path, line, begin)
		}
	}
	s.table = path
}

// keyValue reads a.b = value, over as many lines as the value takes.
func (s *keyScanner) keyValue() {
	path, begin := s.table, s.length-len(s.text)
	for _, key := range s.keys() {
		path = join(path, key)
		s.record(path, s.line, begin)
	}
	s.skip(1) // =
	s.value(path)
}

// keys reads a dotted key up to the = or ] after it.
func (s *keyScanner) keys() []string {
	var keys []string
	for {
		s.text = strings.TrimLeft(s.text, " \t.")
		if s.text == "" || s.text[0] == '=' || s.text[0] == ']' {
			return keys
		}
		if c := s.text[0]; c == '"' || c == '\'' {
			keys = append(keys, s.quoted())
			continue
		}
		end := strings.IndexAny(s.text, " \t.=]")
		if end < 0 {
			end = len(s.text)
		}
		keys = append(keys, s.text[:end])
		s.skip(end)
	}
}

// quoted reads a string of any of the four kinds and returns its value.
func (s *keyScanner) quoted() string {
	mark := s.text[:1]
	if triple := strings.Repeat(mark, 3); strings.HasPrefix(s.text, triple) {
		mark = triple
	}
	end := len(mark)
	for end < len(s.text) && !strings.HasPrefix(s.text[end:], mark) {
		if s.text[end] == '\\' && mark[0] == '"' {
			end++
		}
		end++
	}
	if len(mark) == 3 { // up to two quotation marks may belong to the text
		for strings.HasPrefix(s.text[min(end+1, len(s.text)):], mark) {
			end++
		}
	}
	raw := s.text[:min(end+len(mark), len(s.text))]
	s.skip(len(raw))
	if mark == `"` {
		if said, err := strconv.Unquote(raw); err == nil {
			return said
		}
	}
	return strings.TrimSuffix(strings.TrimPrefix(raw, mark), mark)
}

func (s *keyScanner) record(path string, line, offset int) {
	s.recordOffsetAt(path, offset)
	if _, ok := s.index[path]; !ok {
		s.index[path] = line
	}
}

func (s *keyScanner) skip(n int) {
	n = min(n, len(s.text))
	s.line += strings.Count(s.text[:n], "\n")
	s.text = s.text[n:]
}

// skipLine skips to the line end.
func (s *keyScanner) skipLine() {
	if end := strings.IndexByte(s.text, '\n'); end >= 0 {
		s.skip(end)
	} else {
		s.text = ""
	}
}

// skipBlank skips blanks, line ends and comments.
func (s *keyScanner) skipBlank() {
	for {
		s.skip(len(s.text) - len(strings.TrimLeft(s.text, " \t\r\n\ufeff")))
		if !strings.HasPrefix(s.text, "#") {
			return
		}
		s.skipLine()
	}
}
