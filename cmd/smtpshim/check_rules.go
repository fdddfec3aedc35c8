package main

import (
	"slices"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// rulesMean returns the names of rules other than idle ones, each with the sessions in
// which it acts if those are not all.
func rulesMean(rules *rewrite.Rules, idle []rewrite.Rule) (list []string) {
	for _, name := range rules.Names() {
		scope := rules.Scope(name)
		switch {
		case slices.ContainsFunc(idle, func(r rewrite.Rule) bool { return r.Name == name }):
			continue
		case scope != "":
			name += " (only for " + scope + ")"
		}
		list = append(list, name)
	}
	return list
}

// idleRules returns the rules of a route that cannot act under its TLS.
func idleRules(r *config.Route) (idle []rewrite.Rule) {
	names := r.Computed().Names()
	for _, rule := range heal.Table() {
		if rule.Acts != nil && slices.Contains(names, rule.Name) && !rule.Acts(r.ClientTLS.Mode, r.ServerTLS.Mode) {
			idle = append(idle, rule)
		}
	}
	return idle
}
