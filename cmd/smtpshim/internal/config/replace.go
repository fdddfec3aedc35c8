package config

import (
	"regexp"
	"slices"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// replaceName matches a name that a [[route.replace]] may have, as the name of a rule in
// logs, metrics and recordings.
var replaceName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// readReplacements reads [[route.replace]]. Each becomes a rule, with its options in
// options. It returns the names of the rules, in the order of the file, and their tables.
func readReplacements(t *table, options map[string]map[string]any) (names []string, replaced map[string]*table) {
	replaced = map[string]*table{}
	for _, at := range t.tables("replace") {
		name, values := at.text("name", ""), map[string]any{}
		for _, o := range slices.Concat(heal.ReplaceOptions(), rewrite.ScopeOptions()) {
			if v := at.ask(o.Name); v != nil {
				values[o.Name] = v
			}
		}
		at.done()
		rule := heal.ReplacePrefix + name
		_, given := options[rule]
		switch {
		case !at.has("name"):
			at.follows(nil, "name", `is missing: logs and metrics call the rule by it, as in name = "noop"`)
		case !replaceName.MatchString(name):
			at.wrong("name", "%q is no name; it has small letters, digits, and hyphens between them", name)
		case slices.Contains(heal.Names(), name):
			at.wrong("name", "%q is the name of a rule or set; choose another", name)
		case replaced[rule] != nil:
			at.wrong("name", "%q is the name of another [[route.replace]] of this route", name)
		case given:
			at.wrong("name", "%q has options in route.options.%s too; write them here", name, rule)
			delete(options, rule) // so that the rule is not reported as unknown
		default:
			names = append(names, rule)
			replaced[rule], options[rule] = at, values
		}
	}
	return names, replaced
}
