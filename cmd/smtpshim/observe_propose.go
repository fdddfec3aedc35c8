package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"smtpshim/cmd/smtpshim/internal/config"
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
	files, err := config.OpenEdits(path)
	if err != nil {
		return p, err
	}
	diffs := map[string]string{}
	for _, file := range files {
		diff, err := p.heal(file)
		if err != nil {
			return p, err
		}
		if diff != "" {
			p.files = append(p.files, file.Path)
			diffs[file.Path] = diff
		}
	}
	for _, r := range p.Routes {
		if len(r.Rules) > 0 && r.Proposed == nil {
			return p, fmt.Errorf("%s has no route %q that observes; the running smtpshim has another file, or has not read this one", path, r.Name)
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
func (p *proposal) heal(file *config.Edit) (diff string, err error) {
	for _, o := range file.Observed() { // an edit leaves every line its number
		at := slices.IndexFunc(p.Routes, func(r proposedRoute) bool { return r.Name == o.Name })
		if at < 0 || len(p.Routes[at].Rules) == 0 {
			continue
		}
		r := &p.Routes[at]
		r.Proposed = proposedRules(o.Rules, r.Rules)
		if err := file.Heal(o, r.Proposed); err != nil {
			return "", err
		}
	}
	return udiff.ToUnified(file.Path, file.Path, file.Text, udiff.Lines(file.Text, file.String()), udiff.DefaultContextLines)
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
