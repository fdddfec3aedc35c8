package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// An Edit is the text of a file of the configuration, in memory. Heal changes lines of
// the text, and String returns the result.
type Edit struct {
	Path  string
	Text  string // the content of the file when it was read
	root  *table
	lines fileLines
}

// OpenEdits reads the file at path and the files that it includes, and returns an Edit
// for each, the file at path first. It returns an error if one of them cannot be read or
// parsed.
func OpenEdits(path string) (files []*Edit, err error) {
	main, err := openSource(path)
	if err != nil {
		return nil, err
	}
	included := main.included()
	if len(main.unread) > 0 {
		return nil, main.unread
	}
	if len(main.mistakes) > 0 { // the directory cannot be read
		return nil, main.mistakes
	}
	for _, file := range append([]*table{main}, included...) {
		files = append(files, &Edit{Path: file.source.path, Text: file.source.text, root: file, lines: splitLines(file.source.text)})
	}
	return files, nil
}

// An ObservedRoute is a route with mode = "observe": its rules do not act, and smtpshim
// records what they would do.
type ObservedRoute struct {
	Name  string
	Rules []string // the value of its key rules; "standard" if it has no such key
	table *table
}

// Observed returns the routes of the file that have mode = "observe".
func (e *Edit) Observed() (list []ObservedRoute) {
	for _, t := range e.root.tables("route") {
		if t.text("mode", "") != "observe" {
			continue
		}
		rules := standardRules
		if t.has("rules") {
			rules = t.texts("rules")
		}
		list = append(list, ObservedRoute{t.text("name", ""), rules, t})
	}
	return list
}

// Heal changes the text of e so that the rules of the route o act. o is a result of
// e.Observed. Heal removes the line mode = "observe", and sets the key rules to the
// parameter rules. If the route has no such key and the parameter is the default, Heal
// adds no key. Heal can be called for several routes of e. If the text cannot be changed
// safely, Heal leaves it as it was and returns an error that says what to write by hand.
// Heal does not write the file.
func (e *Edit) Heal(o ObservedRoute, rules []string) error {
	lines, err := e.lines.heal(o.table, rules)
	if err != nil {
		return fmt.Errorf(`%s: route %q: %w; take mode = "observe" away by hand, and write rules = %s`, e.Path, o.Name, err, tomlArray(rules))
	}
	e.lines = lines
	return nil
}

// String returns the text of the file with the changes made by Heal.
func (e *Edit) String() string { return e.lines.String() }

// fileLines are the lines of a file, each with its line end.
type fileLines []string

func splitLines(text string) fileLines { return strings.SplitAfter(text, "\n") }

func (l fileLines) String() string { return strings.Join(l, "") }

// heal removes the mode of a route and sets its rules. It changes whole lines and checks
// the result. If that is not right, it returns the lines unchanged, with an error.
func (l fileLines) heal(t *table, rules []string) (fileLines, error) {
	edits, says := map[string]string{"mode": ""}, "rules = "+tomlArray(rules)
	newRules := true
	switch {
	case t.has("rules") && !slices.Equal(rules, t.texts("rules")):
		edits["rules"] = says
	case !t.has("rules") && !slices.Equal(rules, standardRules):
		edits["mode"] = says // where the mode stood
	default:
		newRules = false
	}
	made := slices.Clone(l)
	for key, line := range edits {
		first, ok := t.lines[join(t.path, key)]
		if !ok {
			return l, errNoEdit
		}
		last, err := made.endOf(first-1, key)
		if err != nil {
			return l, err
		}
		end := made[last-1][len(strings.TrimRight(made[last-1], "\r\n")):]
		indent := made[first-1][:len(made[first-1])-len(strings.TrimLeft(made[first-1], " \t"))]
		if line != "" {
			line = indent + line + end
		}
		made[first-1] = line
		for i := first; i < last; i++ {
			made[i] = ""
		}
	}
	if !made.differOnly(l, t, newRules, rules) {
		return l, errNoEdit
	}
	return made, nil
}

// endOf returns the number of the last line of a key's value. first is the index of its
// first line.
func (l fileLines) endOf(first int, key string) (int, error) {
	const most = 1000
	text := ""
	for i := first; i < len(l) && i < first+most; i++ {
		text += l[i]
		values := map[string]any{}
		if _, err := toml.Decode(text, &values); err == nil && len(values) == 1 && values[key] != nil {
			return i + 1, nil
		}
	}
	return 0, errNoEdit
}

// differOnly reports whether the lines have the same meaning as before, except for the
// mode and the rules of the route.
func (l fileLines) differOnly(before fileLines, t *table, newRules bool, rules []string) bool {
	var was, is map[string]any
	if _, err := toml.Decode(before.String(), &was); err != nil {
		return false
	}
	if _, err := toml.Decode(l.String(), &is); err != nil {
		return false
	}
	routes, ok := was["route"].([]map[string]any)
	i, err := strconv.Atoi(strings.Trim(strings.TrimPrefix(t.path, "route"), "[]"))
	if !ok || err != nil || i >= len(routes) {
		return false
	}
	delete(routes[i], "mode")
	if newRules {
		values := make([]any, len(rules))
		for i, r := range rules {
			values[i] = r
		}
		routes[i]["rules"] = values
	}
	return reflect.DeepEqual(was, is)
}

// tomlArray returns names as a TOML array.
func tomlArray(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(name)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

var errNoEdit = errors.New("cannot be changed line by line")
