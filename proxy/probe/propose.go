package probe

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"smtpshim/rewrite/heal"
)

// A Proposal has the rules and settings of a route that heal findings.
type Proposal struct {
	Rules []string // names of sets of rules and of rules; the first is "standard"
	// Settings are other lines of the route, such as `server_tls.mode = "require"`,
	// sorted.
	Settings []string
}

// Propose returns the rules and settings that heal the findings of the kinds Fault and
// Strict, as far as something heals them. It leaves findings of the kind Note to the
// administrator, because a rule that helps one client may be wrong for others.
func (r Report) Propose() Proposal {
	sets := heal.Sets()
	standard, p := sets[0], Proposal{Rules: []string{"standard"}}
	var missing, hidden []string
	for _, f := range r.Findings {
		if f.Kind == Note {
			continue
		}
		if f.Rule != "" && !slices.Contains(standard.Rules, f.Rule) && !slices.Contains(missing, f.Rule) {
			missing = append(missing, f.Rule)
		}
		for line := range strings.SplitSeq(f.Setting, "\n") {
			switch keyword, ok := strings.CutPrefix(line, hideSetting); {
			case ok:
				hidden = append(hidden, strings.Trim(keyword, `[]"`))
			case line != "":
				p.Settings = append(p.Settings, line)
			}
		}
	}
	for _, s := range sets[1:] {
		if slices.Contains(r.Products, s.Name) && slices.ContainsFunc(missing, func(rule string) bool { return slices.Contains(s.Rules, rule) }) {
			p.Rules = append(p.Rules, s.Name)
			missing = slices.DeleteFunc(missing, func(rule string) bool { return slices.Contains(s.Rules, rule) })
		}
	}
	p.Rules = append(p.Rules, missing...)
	if hidden != nil {
		p.Settings = append(p.Settings, hideSetting+`["`+strings.Join(hidden, `", "`)+`"]`)
	}
	slices.Sort(p.Settings)
	p.Settings = slices.Compact(p.Settings)
	return p
}

// hideSetting is the key for keywords to hide.
const hideSetting = "options.hide-keywords.keywords = "

// hide returns the setting that hides a keyword.
func hide(keyword string) string { return fmt.Sprintf("%s[%q]", hideSetting, keyword) }

// Route returns the proposal as a complete [[route]] of a configuration. name is the
// route's name, listen the address at which it listens, and server the address of its
// server.
func (p Proposal) Route(name, listen, server string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[route]]\nname = %q\nlisten = [%q]\nservers = [%q]\nrules = [\"%s\"]\n", name, listen, server, strings.Join(p.Rules, `", "`))
	for _, s := range p.Settings {
		fmt.Fprintln(&b, s)
	}
	return b.String()
}

// products returns the sets whose signs the server has shown.
func (v *visit) products() (list []string) {
	shows := func(pattern string, r reply) bool {
		if pattern == "" || r.code/100 != 2 {
			return false
		}
		found, err := regexp.MatchString(pattern, r.text())
		return err == nil && found
	}
	for _, s := range heal.Sets() {
		if shows(s.Signs.Greeting, v.greeted.reply) || v.verb == "EHLO" && shows(s.Signs.Offer, v.hello.reply) || shows(s.Signs.Help, v.help) {
			list = append(list, s.Name)
		}
	}
	return list
}
