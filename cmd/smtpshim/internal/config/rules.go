package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/oneof"
)

// standardRules are the rules of a route without the key rules.
var standardRules = []string{"standard"}

// readRules reads rules and their options, and compiles them. It records options of rules
// that are not in force as idle.
func readRules(t *table, r *Route) {
	names := t.texts("rules")
	if !t.has("rules") {
		names, r.Unruled = standardRules, true
	}
	all := t.table("options")
	options := map[string]map[string]any{}
	for rule := range all.values {
		if values, ok := value[map[string]any](all, rule, "a table of the rule's options"); ok {
			options[rule] = values
		}
	}
	names = append(names, ruleKeys(t, options)...)
	replacements, replaced := readReplacements(t, options)
	names = append(names, replacements...)
	rules, errs := heal.Compile(names, options)
	for _, err := range errs {
		e, ok := errors.AsType[*rewrite.ConfigError](err)
		if !ok {
			t.wrong("rules", "%v", err)
		} else if e.Option != "" {
			at := cmp.Or(replaced[e.Rule], all.table(e.Rule))
			at.wrong(e.Option, "%v%s", e, hintOption(e))
		} else if slices.Contains(names, e.Rule) {
			t.wrong("rules", "%v%s", e, HintRule(e.Rule))
		} else {
			all.wrong(e.Rule, "%v%s", e, HintRule(e.Rule))
		}
	}
	for _, rule := range slices.Sorted(maps.Keys(options)) {
		if slices.Contains(rules.Names(), rule) {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(options[rule])) {
			r.idle = append(r.idle, option{rule, name})
		}
	}
	r.Rules, r.options = rules, options
	if readMode(t) == "observe" && len(errs) == 0 {
		r.observes(names)
	}
}

// readMode reads whether the rules act.
func readMode(t *table) string {
	w := chosen{words: []string{"heal", "observe"}}
	text, _ := t.ask("mode").(string)
	var client rewrite.ClientTLS
	var server rewrite.ServerTLS
	if client.UnmarshalText([]byte(text)) == nil || server.UnmarshalText([]byte(text)) == nil {
		t.wrong("mode", "%q is of TLS; it belongs below [%s.client_tls] or [%s.server_tls]", text, t.name, t.name)
		return ""
	}
	t.word("mode", &w)
	return w.word
}

// observes makes the rules with these names observed, and keeps only heal.Safeguard in
// force. The names must compile.
func (r *Route) observes(names []string) {
	r.Observed, _ = heal.Compile(append(slices.Clone(names), "-"+heal.Safeguard), r.options)
	r.Rules, _ = heal.Compile([]string{heal.Safeguard}, map[string]map[string]any{heal.Safeguard: r.options[heal.Safeguard]})
}

// Computed returns the observed rules of r if r has mode = "observe", and otherwise its
// rules in force.
func (r *Route) Computed() *rewrite.Rules {
	if r.Observed != nil {
		return r.Observed
	}
	return r.Rules
}

// ruleKeys reads the keys of a route that put a rule in force and set one of its options,
// and returns the names of these rules. The rule for stray octets is in force on every
// route.
func ruleKeys(t *table, options map[string]map[string]any) []string {
	names := []string{heal.Safeguard}
	set := func(key, rule, option string, value any) {
		if said, both := options[rule][option]; both && fmt.Sprint(said) != fmt.Sprint(value) {
			t.wrong(key, "is %v, and route.options.%s.%s is %v; leave one of them out", value, rule, option, said)
			return
		}
		if options[rule] == nil {
			options[rule] = map[string]any{}
		}
		options[rule][option] = value
	}
	if mode := chosenWord(t, "stray_bytes", "mend", "refuse"); mode != "" {
		set("stray_bytes", heal.Safeguard, "mode", mode)
	}
	if mode := chosenWord(t, "long_lines", "pass", "fold", "refuse", "encode"); mode != "" && mode != "pass" {
		names = append(names, "long-lines")
		set("long_lines", "long-lines", "mode", mode)
	}
	if list := networks(t, "lf_ends"); len(list) > 0 {
		names = append(names, "lf-ends")
		clients := make([]string, 0, len(list))
		for _, network := range list {
			if network.IsValid() && network == network.Masked() { // other networks were already reported
				clients = append(clients, network.String())
			}
		}
		if len(clients) > 0 {
			set("lf_ends", "lf-ends", "clients", clients)
		}
	}
	if chosenWord(t, "chunking", "pass", "hide") == "hide" {
		names = append(names, "chunking")
	}
	return names
}

// chosenWord reads a key that must be one of these words; "" if it is missing, or wrong
// and reported.
func chosenWord(t *table, key string, words ...string) string {
	w := chosen{words: words}
	if !t.word(key, &w) {
		return ""
	}
	return w.word
}

// A chosen is one of some words.
type chosen struct {
	words []string
	word  string
}

func (c *chosen) UnmarshalText(text []byte) error { return chooseWord(&c.word, text, c.words...) }

// HintRule returns the text to append to an error about name, which should be the name
// of a rule or set, also with "-" before it. If there is no such rule or set, the text
// suggests similar names, or the command that lists the rules. Otherwise it is "".
func HintRule(name string) string {
	name = strings.TrimPrefix(name, "-")
	known := heal.Names()
	if slices.Contains(known, name) {
		return ""
	}
	return cmp.Or(oneof.DidYouMean(name, known), `; "smtpshim rules" lists them`)
}

// hintOption returns what to add to an error about an unknown option.
func hintOption(e *rewrite.ConfigError) string {
	var known []string
	for _, r := range heal.Table() {
		if r.Name == e.Rule {
			for _, o := range r.AllOptions() {
				known = append(known, o.Name)
			}
		}
	}
	if slices.Contains(known, e.Option) {
		return ""
	}
	return oneof.DidYouMean(e.Option, known)
}
