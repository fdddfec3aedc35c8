package main

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/aymanbagabas/go-udiff"

	"smtpshim/proxy/evidence"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// propose says what to change in the file at path, or in those that it includes, so that
// what was observed is healed. The evidence is in the result also if there is an error.
func propose(path string, routes []evidence.Route) (*proposal, error) {
	p := &proposal{File: path}
	for _, r := range routes {
		p.Routes = append(p.Routes, proposedRoute{Route: r})
	}
	main, err := openSource(path)
	if err != nil {
		return p, err
	}
	files := append([]*table{main}, main.included()...)
	if len(main.unread) > 0 {
		return p, main.unread
	}
	diffs := map[string]string{}
	for _, file := range files {
		diff, err := p.heal(file)
		if err != nil {
			return p, err
		}
		if diff != "" {
			p.files = append(p.files, file.source.path)
			diffs[file.source.path] = diff
		}
	}
	for _, r := range p.Routes {
		if len(r.Rules) > 0 && r.Proposed == nil {
			return p, fmt.Errorf("%s has no route %q that observes; the smtpshim that was asked runs with another file, or has not read this one", path, r.Name)
		}
	}
	for _, name := range p.files {
		p.Diff += diffs[name]
	}
	if len(p.files) == 1 {
		p.File = p.files[0]
	}
	return p, nil
}

// heal says what to change in one file, as a diff; "": nothing.
func (p *proposal) heal(file *table) (diff string, err error) {
	path := file.source.path
	text, err := os.ReadFile(path)
	if err != nil {
		return "", unreadable(path, err)
	}
	edited := splitLines(string(text))
	for _, t := range file.tables("route") { // an edit leaves every line its number
		at := slices.IndexFunc(p.Routes, func(r proposedRoute) bool { return r.Name == t.text("name", "") })
		if at < 0 || t.text("mode", "") != "observe" || len(p.Routes[at].Rules) == 0 {
			continue
		}
		r := &p.Routes[at]
		names := []string{"standard"}
		if t.has("rules") {
			names = t.texts("rules")
		}
		r.Proposed = proposedRules(names, r.Rules)
		if edited, err = edited.heal(t, r.Proposed); err != nil {
			return "", fmt.Errorf(`%s: route %q: %w; take mode = "observe" away by hand, and write rules = %s`, path, r.Name, err, tomlArray(r.Proposed))
		}
	}
	return udiff.ToUnified(path, path, string(text), udiff.Lines(string(text), edited.String()), udiff.DefaultContextLines)
}

// proposedRules are those names of a configuration that have evidence: a rule that would
// have acted, or a set of which one would. What acts on its own evidence alone stays: with
// it, what only shows behind another departure is healed too.
func proposedRules(names []string, acted []evidence.Rule) []string {
	kept, covered := []string{}, []string{}
	for _, name := range names {
		bare, minus := strings.CutPrefix(name, "-")
		rules := rulesNamed(bare)
		switch {
		case minus && slices.ContainsFunc(append(rules, bare), func(r string) bool { return slices.Contains(covered, r) }):
		case minus:
			continue
		case bare == "standard" || actsOnSigns(bare):
		case !slices.ContainsFunc(acted, func(r evidence.Rule) bool { return slices.Contains(rules, r.Name) }):
			continue
		}
		kept = append(kept, name)
		if !minus {
			covered = append(append(covered, rules...), bare)
		}
	}
	return kept
}

// rulesNamed are the rules that a name of a rule or a set stands for, with the sets of its
// products.
func rulesNamed(name string) []string {
	for _, s := range heal.Sets() {
		if s.Name != name {
			continue
		}
		rules := slices.Clone(s.Rules)
		for _, product := range s.Products {
			rules = append(append(rules, product), rulesNamed(product)...)
		}
		return rules
	}
	return []string{name}
}

// actsOnSigns says that a set acts only where a session shows a product.
func actsOnSigns(name string) bool {
	return slices.ContainsFunc(heal.Sets(), func(s rewrite.Set) bool { return s.Name == name && len(s.Products) > 0 })
}

// fileLines are the lines of a file, each with its end.
type fileLines []string

func splitLines(text string) fileLines { return strings.SplitAfter(text, "\n") }

func (l fileLines) String() string { return strings.Join(l, "") }

// heal takes the mode of a route away, and gives it these rules. It changes whole lines
// and looks at the result: what it cannot change so it leaves.
func (l fileLines) heal(t *table, rules []string) (fileLines, error) {
	edits := map[string]string{"mode": ""}
	if t.has("rules") && !slices.Equal(rules, t.texts("rules")) {
		edits["rules"] = "rules = " + tomlArray(rules)
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
	if !made.differOnly(l, t, edits["rules"] != "", rules) {
		return l, errNoEdit
	}
	return made, nil
}

// endOf is the number of the last line of a key's value; the first has the index given.
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

// differOnly reports whether the lines say the same as before, but for the mode and the
// rules of the route.
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

// tomlArray writes names as an array of TOML.
func tomlArray(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(name)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
