package main

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

	"smtpshim/rewrite/oneof"
)

// A mistake is one thing that is wrong in a file, and where.
type mistake struct {
	file string
	line int    // 0: nowhere in particular
	key  string // as one would write it in full; "": none
	text string // what is wrong, and what would be right

	cause error // nil: nothing but the text

	path  string   // of the key, with the numbers of arrays' tables
	after []string // paths of keys from whose mistakes it may follow; nil: it is one of its own
}

func (m mistake) Unwrap() error { return m.cause }

func (m mistake) Error() string {
	place := m.file
	if m.line > 0 {
		place = fmt.Sprintf("%s:%d", m.file, m.line)
	}
	if m.key != "" {
		place += ": " + m.key
	}
	return place + ": " + m.text
}

// mistakes are all of a file's, in the order of its lines.
type mistakes []mistake

func (ms mistakes) Error() string {
	var lines []string
	for _, m := range ms {
		lines = append(lines, m.Error())
	}
	return strings.Join(lines, "\n")
}

// A source is a TOML file that is being read: everything wrong with it is
// collected, not only the first.
type source struct {
	path     string
	lines    keyIndex
	vast     map[int][]string // numbers beyond int64 as they are written, by line
	mistakes mistakes
	unread   mistakes // those of files that it includes and that are no TOML
	keys     []string // every key somebody asked for, present or not: the schema
	arrays   []string // those of keys that are arrays of tables
	unknown  []stray
	places   []place // what the program has to reach when it runs
}

// A stray is a key that nobody asked for.
type stray struct {
	table *table
	key   string
}

// openSource decodes the file and returns its outermost table.
func openSource(path string) (*table, error) {
	text, err := readBounded(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	values, vast, err := decode(string(text))
	if err != nil {
		return nil, mistakes{notTOML(path, string(text), err)}
	}
	return &table{source: &source{path: path, lines: indexKeys(string(text)), vast: vast}, values: values}, nil
}

// maxSource is the longest configuration that is read, in octets: a file that grows, or
// has no end, is not one.
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

// unreadable says that a file cannot be read, and what to do about it.
func unreadable(path string, err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		err = at.Err // it says the path again
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

// wrongs returns the mistakes. It is for the end: only then is it known where a key
// belongs that stands elsewhere.
func (s *source) wrongs() mistakes {
	for _, u := range s.unknown {
		u.table.wrong(u.key, "unknown key%s", u.table.hintPlace(u.key))
	}
	s.mistakes = s.withoutFollowing(s.mistakes)
	s.unknown = nil
	slices.SortFunc(s.mistakes, func(a, b mistake) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.key, b.key), cmp.Compare(a.text, b.text))
	})
	return append(s.mistakes, s.unread...)
}

// A table is one table of a source. Its methods return the value of a key, or
// the default if the key is absent or its value is wrong, which they note. A
// table that the file does not have is an empty one.
type table struct {
	*source
	path   string // with the numbers of arrays' tables
	name   string // without
	values map[string]any
	asked  []string
}

// wrong notes a mistake at key, or at the table itself if key is "".
func (t *table) wrong(key, format string, args ...any) {
	m := mistake{file: t.source.path, key: t.name, text: fmt.Sprintf(format, args...)}
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			m.cause = err
			if at, ok := errors.AsType[*fs.PathError](err); ok {
				m.text += hintCredential(at.Path, err)
			}
		}
	}
	path := t.path
	if key != "" {
		m.key, path = join(t.name, key), join(t.path, key)
	}
	m.path, m.line = path, t.lines.line(path)
	m.text = t.asWritten(m.line, m.text)
	t.mistakes = append(t.mistakes, m)
}

// ask returns the value of key, whatever its type; nil if there is none.
func (t *table) ask(key string) any {
	if !slices.Contains(t.asked, key) {
		t.asked = append(t.asked, key)
	}
	if name := join(t.name, key); !slices.Contains(t.keys, name) {
		t.keys = append(t.keys, name)
	}
	return t.values[key]
}

// has says whether the file has key.
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

// octets is number where int may be too small, on a machine of 32 bits.
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
		t.wrong(key, "%q is out of range; it may be %s to %s", text, brief(least), brief(most))
	default:
		return v
	}
	return normal
}

// brief writes a duration without the zeros at its end.
func brief(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// word reads one of several words into v, whose UnmarshalText says which they
// are when it is another. It returns false if there is a word that is wrong.
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

// oneOrMore reads a string, or an array of them. "" and [] are none.
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
	case []any: // empty, or of inline tables
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

// done notes each key that nobody asked for. Every table that was got must be
// done in the end.
func (t *table) done() {
	for key := range t.values {
		if !slices.Contains(t.asked, key) {
			t.unknown = append(t.unknown, stray{t, key})
		}
	}
}

// describe says what a value of the wrong type is.
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
