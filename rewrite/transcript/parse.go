package transcript

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Parse returns the File in data, the content of a file with LF at the end of each
// line. name is the name of that file. The error is the first mistake, with name and
// the number of its line.
func Parse(name string, data []byte) (*File, error) {
	p := parser{seen: map[string]bool{}}
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		if err := p.line(strings.TrimSuffix(line, "\n")); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, number, err)
		}
	}
	if !p.seen[dialogueSection] {
		return nil, fmt.Errorf("%s:%d: no section %q", name, max(number, 1), heading(dialogueSection))
	}
	f := p.file
	f.About = strings.Trim(strings.Join(p.about, "\n"), "\n")
	if n := len(f.Dialogue); n > 0 && f.Dialogue[n-1] == (Line{}) {
		f.Dialogue = f.Dialogue[:n-1]
	}
	return &f, nil
}

// A parser holds what was read so far.
type parser struct {
	file    File
	about   []string
	section string // "": the prose
	seen    map[string]bool
}

func (p *parser) line(line string) error {
	if err := checkText(line); err != nil {
		return err
	}
	if section, ok := cutHeading(line); ok {
		return p.begin(section)
	}
	if p.section == "" {
		p.about = append(p.about, line)
		return nil
	}
	if p.section == dialogueSection {
		return p.file.parseDialogue(line)
	}
	if line = strings.TrimSpace(line); line == "" {
		return nil
	}
	switch p.section {
	case rulesSection:
		return p.file.parseRule(line)
	case optionsSection:
		return p.file.parseOption(line)
	}
	return p.file.parseSetting(line)
}

// checkText refuses characters that could control a terminal.
func checkText(line string) error {
	for _, r := range line {
		if unicode.IsControl(r) && r != '\t' || r == utf8.RuneError {
			return fmt.Errorf("%q holds %q; a file is text with LF at the end of a line, all else is quoted", line, r)
		}
	}
	return nil
}

func cutHeading(line string) (section string, ok bool) {
	if len(line) < len(heading("")) || !strings.HasPrefix(line, "-- ") || !strings.HasSuffix(line, " --") {
		return "", false
	}
	return line[len("-- ") : len(line)-len(" --")], true
}

func (p *parser) begin(section string) error {
	switch section {
	case rulesSection, optionsSection, settingSection, dialogueSection:
	default:
		return fmt.Errorf("section %q; there are %s, %s, %s and %s",
			section, rulesSection, optionsSection, settingSection, dialogueSection)
	}
	if p.seen[section] {
		return fmt.Errorf("section %q for the second time", section)
	}
	p.section, p.seen[section] = section, true
	return nil
}

func (f *File) parseRule(line string) error {
	if !isName(strings.TrimPrefix(line, "-")) {
		return fmt.Errorf("%q is no name of a rule; one goes on each line", line)
	}
	f.Rules = append(f.Rules, line)
	return nil
}

// parseDialogue parses a line of the dialogue. It keeps an empty line between other
// lines, but only one in a row.
func (f *File) parseDialogue(line string) error {
	if line == "" {
		if n := len(f.Dialogue); n > 0 && f.Dialogue[n-1] != (Line{}) {
			f.Dialogue = append(f.Dialogue, Line{})
		}
		return nil
	}
	l, err := parseDialogueLine(line)
	if err == nil {
		f.Dialogue = append(f.Dialogue, l)
	}
	return err
}

func parseDialogueLine(line string) (Line, error) {
	margin, text, _ := strings.Cut(line, " ")
	l := Line{}
	switch margin {
	case "C:", "C-", "C+", "S:", "S-", "S+":
		l.Side, l.Mark = Side(margin[0]), Mark(margin[1])
	case "~":
	default:
		return Line{}, fmt.Errorf("%q begins with none of C: C- C+ S: S- S+ ~ and a blank", line)
	}
	if l.Side == 0 && (text == "" || text == `""`) {
		return Line{}, fmt.Errorf("no text behind %q; an event has one", margin)
	}
	if text == "" {
		return Line{}, fmt.Errorf("no text behind %q; an empty line is written %s \"\"", margin, margin)
	}
	text, err := parseText(text)
	if err != nil {
		return Line{}, err
	}
	l.Text = text
	return l, nil
}

func parseText(s string) (string, error) {
	if s[0] != '"' {
		if !isPlain(s) {
			return "", fmt.Errorf("a blank at the end, or more than printable ASCII; it is written %s", strconv.QuoteToASCII(s))
		}
		return s, nil
	}
	text, err := unquote(s)
	if err != nil {
		return "", err
	}
	if strings.Contains(text, "\r\n") {
		return "", fmt.Errorf("%s holds a CRLF; a text is one line, and its end is not written", s)
	}
	return text, nil
}

func unquote(s string) (string, error) {
	if s == "" || s[0] != '"' {
		return "", fmt.Errorf("%q should be in quotation marks", s)
	}
	text, err := strconv.Unquote(s)
	if err != nil {
		return "", fmt.Errorf("%s is not quoted as Go does", s)
	}
	return text, nil
}

// parseOption parses RULE.OPTION = VALUE. The name of a rule may contain dots, that of an
// option may not.
func (f *File) parseOption(line string) error {
	key, value, ok := strings.Cut(line, " = ")
	dot := strings.LastIndexByte(key, '.')
	if !ok || dot < 0 || !isName(key[:dot]) || !isName(key[dot+1:]) {
		return fmt.Errorf("%q; an option is RULE.OPTION = VALUE", line)
	}
	rule, option := key[:dot], key[dot+1:]
	if _, ok := f.Options[rule][option]; ok {
		return fmt.Errorf("%s for the second time", key)
	}
	v, err := parseValue(value)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if f.Options == nil {
		f.Options = map[string]map[string]any{}
	}
	if f.Options[rule] == nil {
		f.Options[rule] = map[string]any{}
	}
	f.Options[rule][option] = v
	return nil
}

func parseValue(s string) (any, error) {
	switch {
	case s == "true", s == "false":
		return s == "true", nil
	case strings.HasPrefix(s, `"`):
		return unquote(s)
	case strings.HasPrefix(s, "{"):
		return parseTable(s)
	case strings.HasPrefix(s, "["):
		return parseList(s)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return nil, fmt.Errorf(`%q is no value; it can be "text", true, false, a whole number, ["text", ...], or { "key" = "text", ... }`, s)
	}
	return n, nil
}

func parseTable(s string) (map[string]string, error) {
	table := map[string]string{}
	inner, ok := strings.CutSuffix(s[1:], "}")
	if !ok {
		return nil, fmt.Errorf("%s does not end with }", s)
	}
	if strings.TrimSpace(inner) == "" {
		return table, nil
	}
	for {
		key, rest, err := cutQuoted(inner)
		if err != nil {
			return nil, err
		}
		if rest, ok = strings.CutPrefix(rest, "="); !ok {
			return nil, fmt.Errorf("no = behind %q", key)
		}
		value, rest, err := cutQuoted(rest)
		if err != nil {
			return nil, err
		}
		if _, ok := table[key]; ok {
			return nil, fmt.Errorf("%q for the second time", key)
		}
		table[key] = value
		if rest == "" {
			return table, nil
		}
		if inner, ok = strings.CutPrefix(rest, ","); !ok {
			return nil, fmt.Errorf("%q behind %q; a comma goes between two pairs", rest, value)
		}
	}
}

func parseList(s string) ([]string, error) {
	list := []string{}
	inner, ok := strings.CutSuffix(s[1:], "]")
	if !ok {
		return nil, fmt.Errorf("%s does not end with ]", s)
	}
	if strings.TrimSpace(inner) == "" {
		return list, nil
	}
	for {
		text, rest, err := cutQuoted(inner)
		if err != nil {
			return nil, err
		}
		list = append(list, text)
		if rest == "" {
			return list, nil
		}
		if inner, ok = strings.CutPrefix(rest, ","); !ok {
			return nil, fmt.Errorf("%q behind %q; a comma goes between two texts", rest, text)
		}
	}
}

// cutQuoted splits s after a quoted string and the blanks around it.
func cutQuoted(s string) (text, rest string, err error) {
	s = strings.TrimSpace(s)
	quoted, err := strconv.QuotedPrefix(s)
	if err != nil {
		quoted = s
	}
	text, err = unquote(quoted)
	return text, strings.TrimSpace(s[len(quoted):]), err
}

func (f *File) parseSetting(line string) error {
	key, value, ok := strings.Cut(line, " = ")
	if !ok || !isName(key) {
		return fmt.Errorf(`%q; a setting is KEY = "text"`, line)
	}
	if _, ok := f.Settings[key]; ok {
		return fmt.Errorf("%s for the second time", key)
	}
	text, err := unquote(value)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if f.Settings == nil {
		f.Settings = map[string]string{}
	}
	f.Settings[key] = text
	return nil
}

// isName reports whether s consists of letters, digits, "-", "_" and ".".
func isName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	})
}
