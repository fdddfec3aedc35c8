package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"smtpshim/rewrite"
	"smtpshim/rewrite/oneof"
)

// hintPlace returns what to add to an error about a key that its table does not have.
func (t *table) hintPlace(key string) string {
	if t.name == "route" && forClientsToCome.MatchString(key) && !t.namesWeakness(key) {
		return "; clients names who is served, and everybody else gets 554"
	}
	isTable := false
	switch t.values[key].(type) {
	case map[string]any, []map[string]any:
		isTable = true
	}
	var headers, elsewhere []string // tables around or inside this one, and other tables
	for _, name := range t.keys {
		around := parent(name)
		if around == t.name || name != join(around, key) {
			continue
		}
		if !within(around, t.name) && !within(t.name, around) {
			elsewhere = append(elsewhere, t.header(name))
			if !isTable {
				elsewhere[len(elsewhere)-1] = t.header(around)
			}
			continue
		}
		switch {
		case isTable:
			headers = append(headers, t.header(name))
		case around != "" && within(t.name, around):
			headers = append(headers, t.header(around)+", before the tables in it")
		default:
			headers = append(headers, t.header(around))
		}
	}
	switch {
	case slices.Contains(headers, ""):
		return " here; it belongs at the top of the file, before the first table"
	case isTable && headers != nil:
		return " here; write " + strings.Join(headers, " or ")
	case headers != nil:
		return " here; it belongs below " + strings.Join(headers, " or ")
	}
	if hint := oneof.DidYouMean(key, t.asked); hint != "" {
		return hint
	}
	switch {
	case len(elsewhere) == 0 || len(elsewhere) > 3:
	case isTable:
		return " here; write " + strings.Join(elsewhere, " or ")
	default:
		return " here; it belongs below " + strings.Join(elsewhere, " or ")
	}
	return "; there are " + oneof.Names(t.asked)
}

// forClientsToCome matches names that other programs use for the key clients of a route.
var forClientsToCome = regexp.MustCompile(`(?i)^(?:networks|mynetworks|(?:allow|deny|permit|whitelist|blacklist|trusted).*|.*_allowed)$`)

// namesWeakness reports whether a key has the name of a key of [[route.server_tls.weak]].
func (t *table) namesWeakness(key string) bool {
	list, ok := t.values[key].([]any)
	if !ok {
		list = []any{t.values[key]}
	}
	return key == "allow" && slices.ContainsFunc(list, func(v any) bool {
		text, _ := v.(string)
		_, err := rewrite.ParseNetwork(text)
		return err != nil
	})
}

// within reports whether name is the table around, or a table inside it.
func within(name, around string) bool {
	return around == "" || name == around || strings.HasPrefix(name, around+".")
}

// header returns the line with which a table begins; "" for the outermost.
func (s *source) header(name string) string {
	switch {
	case name == "":
		return ""
	case slices.Contains(s.arrays, name):
		return "[[" + name + "]]"
	}
	return "[" + name + "]"
}

var (
	bareValue = regexp.MustCompile(`[=\[,][ \t]*([^\s"'\[\]{},#=][^"'\[\]{},#=]*)`)
	number    = regexp.MustCompile(`^[-+_0-9]+$`)
)

// hintQuotes returns a likely reason for a syntax error in a line: a text without quotes,
// or a Boolean in upper case. "": some other reason.
func hintQuotes(text string, line int) string {
	lines := strings.Split(text, "\n")
	if line < 1 || line > len(lines) || strings.HasPrefix(strings.TrimSpace(lines[line-1]), "[") {
		return ""
	}
	before := lines[line-1]
	if end := strings.IndexAny(before, `"'#`); end >= 0 {
		before = before[:end]
	}
	for _, found := range bareValue.FindAllStringSubmatch(before, -1) {
		value, v := strings.TrimSpace(found[1]), map[string]any{}
		switch _, err := toml.Decode("x = "+value, &v); {
		case err == nil || number.MatchString(value):
		case strings.EqualFold(value, "true"), strings.EqualFold(value, "false"):
			return "write " + strings.ToLower(value)
		default:
			return fmt.Sprintf("text needs quotes: %q", value)
		}
	}
	return ""
}
