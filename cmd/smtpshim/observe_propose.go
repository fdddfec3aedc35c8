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

// propose returns how to change the file at path, or those that it includes, to heal what
// was observed. If there is an error, the result still has the evidence.
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

// heal returns the change of one file as a diff; "": none.
func (p *proposal) heal(file *table) (diff string, err error) {
	path := file.source.path
	text, err := os.ReadFile(path)
	if err != nil {
		return "", unreadable(path, err)
	}
	edited := splitLines(string(text))
	for _, t := range file.tables("route") { // an edit does not change the numbers of other lines
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

// proposedRules returns the names of a configuration for which there is evidence: rules
// that would have acted, and sets with such a rule. It keeps sets that act only on
// evidence of their own, because these also heal what shows only after another change.
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

// rulesNamed returns the rules that the name of a rule or a set stands for, including the
// sets of its products.
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

// actsOnSigns reports whether a set acts only in sessions that show a product.
func actsOnSigns(name string) bool {
	return slices.ContainsFunc(heal.Sets(), func(s rewrite.Set) bool { return s.Name == name && len(s.Products) > 0 })
}

// fileLines are the lines of a file, each with its line end.
type fileLines []string

func splitLines(text string) fileLines { return strings.SplitAfter(text, "\n") }

func (l fileLines) String() string { return strings.Join(l, "") }

// heal removes the mode of a route and sets its rules. It changes whole lines and checks
// the result. If that is not right, it returns the lines unchanged, with an error.
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
