package config

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"smtpshim/cmd/smtpshim/internal/words"
	"smtpshim/rewrite/oneof"
)

// A Mistake is something that is wrong in a file, and its position.
type Mistake struct {
	File string
	Line int    // 0: at no particular line
	Key  string // full name of the key, such as "route.listen"; "": none
	Text string // what is wrong, and what would be right

	cause error // nil: there is only the text

	path  string   // path of the key, with numbers of tables in arrays
	after []string // paths of keys whose mistakes may cause this one; nil: it is not a consequence
}

func (m Mistake) Unwrap() error { return m.cause }

func (m Mistake) Error() string {
	place := m.File
	if m.Line > 0 {
		place = fmt.Sprintf("%s:%d", m.File, m.Line)
	}
	if m.Key != "" {
		place += ": " + m.Key
	}
	return place + ": " + m.Text
}

// Mistakes are the mistakes in a configuration, file by file, by line within each file.
type Mistakes []Mistake

func (ms Mistakes) Error() string {
	var lines []string
	for _, m := range ms {
		lines = append(lines, m.Error())
	}
	return strings.Join(lines, "\n")
}

// A source is a TOML file that is being read. It collects all mistakes, not only the
// first.
type source struct {
	path     string
	text     string
	lines    keyIndex
	vast     map[int][]string // numbers beyond int64 as written, by line
	mistakes Mistakes
	unread   Mistakes // mistakes in included files that are not TOML
	keys     []string // every key that was asked for, present or not: the schema
	arrays   []string // those keys that are arrays of tables
	unknown  []stray
	places   []Place // what the program must reach while it runs
}

// A stray is a key of the file that was not asked for.
type stray struct {
	table *table
	key   string
}

// openSource decodes a file and returns its outermost table.
func openSource(path string) (*table, error) {
	text, err := readBounded(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	values, vast, err := decode(string(text))
	if err != nil {
		return nil, Mistakes{notTOML(path, string(text), err)}
	}
	return &table{source: &source{path: path, text: string(text), lines: indexKeys(string(text)), vast: vast}, values: values}, nil
}

// maxSource is the size, in octets, of the largest configuration that is read. A file
// that grows or has no end is not a configuration.
const maxSource = 16 << 20

// readBounded reads a file of at most maxSource octets.
func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSource+1))
	if err == nil && len(text) > maxSource {
		return nil, fmt.Errorf("it has more than %d MiB, and is no configuration", maxSource>>20)
	}
	return text, err
}

// unreadable returns the error that a file cannot be read, and what to do about it.
func unreadable(path string, err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		err = at.Err // the error repeats the path
	}
	hint := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint = "; -config names another file, and config.example.toml is one to begin with"
	case errors.Is(err, fs.ErrPermission):
		hint = "; whoever runs smtpshim has to be able to read it"
	}
	return fmt.Errorf("reading %s: %w%s", path, err, hint)
}

// wrongs returns the mistakes. It must be called at the end: only then is it known where
// a misplaced key belongs.
func (s *source) wrongs() Mistakes {
	for _, u := range s.unknown {
		u.table.wrong(u.key, "unknown key%s", u.table.hintPlace(u.key))
	}
	s.mistakes = s.withoutFollowing(s.mistakes)
	s.unknown = nil
	s.sort()
	return append(s.mistakes, s.unread...)
}

// sort sorts the mistakes by their places in the file. Those in one value stay in the
// order in which they were found.
func (s *source) sort() {
	if len(s.mistakes) < 2 {
		return
	}
	places := indexOffsets(s.text)
	slices.SortStableFunc(s.mistakes, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(places.offset(a.path), places.offset(b.path)))
	})
}

// A table is one table of a source. Its methods return the value of a key. If the key is
// missing, they return the default; if its value is wrong, they also report that. A table
// that the file does not have is an empty one.
type table struct {
	*source
	path   string // with numbers of tables in arrays
	name   string // without these numbers
	values map[string]any
	asked  []string
}

// wrong reports a mistake at key, or at the table itself if key is "".
func (t *table) wrong(key, format string, args ...any) {
	m := Mistake{File: t.source.path, Key: t.name, Text: fmt.Sprintf(format, args...)}
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			m.cause = err
			if at, ok := errors.AsType[*fs.PathError](err); ok {
				m.Text += hintCredential(at.Path, err)
			}
		}
	}
	path := t.path
	if key != "" {
		m.Key, path = join(t.name, key), join(t.path, key)
	}
	m.path, m.Line = path, t.lines.line(path)
	m.Text = t.asWritten(m.Line, m.Text)
	t.mistakes = append(t.mistakes, m)
}

// ask returns the value of key, of any type; nil if there is none.
func (t *table) ask(key string) any {
	if !slices.Contains(t.asked, key) {
		t.asked = append(t.asked, key)
	}
	if name := join(t.name, key); !slices.Contains(t.keys, name) {
		t.keys = append(t.keys, name)
	}
	return t.values[key]
}

// has reports whether the file has key.
func (t *table) has(key string) bool { _, ok := t.values[key]; return ok }

// value returns the value of key if it has type T.
func value[T any](t *table, key, want string) (v T, ok bool) {
	raw := t.ask(key)
	if raw == nil {
		return v, false
	}
	if v, ok = raw.(T); !ok {
		t.wrong(key, "%s is wanted, not %s", want, describe(raw))
	}
	return v, ok
}

func (t *table) text(key, normal string) string {
	if v, ok := value[string](t, key, "a string"); ok {
		return v
	}
	return normal
}

func (t *table) boolean(key string, normal bool) bool {
	if v, ok := value[bool](t, key, "true or false"); ok {
		return v
	}
	return normal
}

func (t *table) number(key string, normal, least, most int) int {
	return int(t.octets(key, int64(normal), int64(least), int64(most)))
}

// octets is number for values that may not fit an int on a machine of 32 bits.
func (t *table) octets(key string, normal, least, most int64) int64 {
	v, ok := value[int64](t, key, "a whole number")
	if !ok {
		return normal
	}
	if v < least || v > most {
		t.wrong(key, "%d is out of range; it may be %d to %d", v, least, most)
		return normal
	}
	return v
}

func (t *table) duration(key string, normal, least, most time.Duration) time.Duration {
	const want = `a duration such as "30s", "5m" or "1h30m"`
	text, ok := value[string](t, key, want)
	if !ok {
		return normal
	}
	v, err := time.ParseDuration(text)
	switch {
	case err != nil:
		t.wrong(key, "%q is no duration; %s is wanted", text, want)
	case v < least || v > most:
		t.wrong(key, "%q is out of range; it may be %s to %s", text, words.Brief(least), words.Brief(most))
	default:
		return v
	}
	return normal
}

// word reads one of several words into v, whose UnmarshalText reports any other. It
// returns false if the word is wrong.
func (t *table) word(key string, v encoding.TextUnmarshaler) bool {
	text, ok := value[string](t, key, "a string")
	if !ok {
		return !t.has(key)
	}
	err := v.UnmarshalText([]byte(text))
	if err != nil {
		t.wrong(key, "%v", err)
	}
	return err == nil
}

// chooseWord sets v to text if it is one of words.
func chooseWord[T ~string](v *T, text []byte, words ...string) error {
	_, err := oneof.Index(string(text), words)
	if err == nil {
		*v = T(text)
	}
	return err
}

// texts reads an array of strings.
func (t *table) texts(key string) []string {
	const want = "an array of strings"
	if text, ok := t.ask(key).(string); ok {
		t.wrong(key, "%s is wanted, not %s; write [%q]", want, describe(text), text)
		return nil
	}
	items, ok := value[[]any](t, key, want)
	if !ok {
		return nil
	}
	texts := make([]string, 0, len(items))
	for _, v := range items {
		if text, ok := v.(string); ok {
			texts = append(texts, text)
		} else {
			t.wrong(key, "%s is wanted; %s is in it", want, describe(v))
		}
	}
	return texts
}

// oneOrMore reads a string or an array of strings. "" and [] are none.
func (t *table) oneOrMore(key string) []string {
	text, isText := t.ask(key).(string)
	switch _, isArray := t.values[key].([]any); {
	case isText && text != "":
		return []string{text}
	case isArray:
		texts := t.texts(key)
		if slices.Contains(texts, "") {
			t.wrong(key, "an empty string is in it")
			return nil
		}
		return texts
	case t.has(key) && !isText:
		t.wrong(key, "a string or an array of strings is wanted, not %s", describe(t.values[key]))
	}
	return nil
}

func (t *table) table(key string) *table {
	values, _ := value[map[string]any](t, key, "a table")
	return &table{source: t.source, path: join(t.path, key), name: join(t.name, key), values: values}
}

// tables reads an array of tables.
func (t *table) tables(key string) []*table {
	if name := join(t.name, key); !slices.Contains(t.arrays, name) {
		t.arrays = append(t.arrays, name)
	}
	var list []map[string]any
	switch v := t.ask(key).(type) {
	case nil:
	case []map[string]any:
		list = v
	case []any: // empty, or an array of inline tables
		for _, v := range v {
			if values, ok := v.(map[string]any); ok {
				list = append(list, values)
			} else {
				t.wrong(key, "an array of tables is wanted; %s is in it", describe(v))
			}
		}
	default:
		t.wrong(key, "an array of tables is wanted, each begun with [[%s]], not %s", join(t.name, key), describe(v))
	}
	var tables []*table
	for i, values := range list {
		tables = append(tables, &table{source: t.source,
			path: item(join(t.path, key), i), name: join(t.name, key), values: values})
	}
	return tables
}

// done reports each key that was not asked for. It must be called for every table in the
// end.
func (t *table) done() {
	for key := range t.values {
		if !slices.Contains(t.asked, key) {
			t.unknown = append(t.unknown, stray{t, key})
		}
	}
}

// describe describes a value of the wrong type.
func describe(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("the string %q", v)
	case int64:
		return fmt.Sprintf("the number %d", v)
	case float64:
		return fmt.Sprintf("the number %v", v)
	case bool:
		return fmt.Sprintf("%v", v)
	case []any:
		return "an array"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "an array of tables"
	default:
		return "a date"
	}
}
