package listen

import (
	"fmt"
	"slices"
	"strings"

	"smtpshim/proxy/tlspolicy"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// keyed are the rules that are not in force by their names, and the key of a route that
// has them act for some clients; "": they act where nothing else is said.
var keyed = map[string]func(clients []string) string{
	"stray-bytes": func([]string) string { return "" },
	"lf-ends":     func(clients []string) string { return "lf_ends = " + array(clients) },
	"long-lines":  func([]string) string { return `long_lines = "fold"` },
}

// A proposal is a route that heals what some clients do.
type proposal struct {
	clients map[string][]string // of each rule
	options map[string][]string // of rules, as lines
	logIn   bool                // a client needs a login of ours
	hide    bool                // a client comes through without STARTTLS alone
	tls     bool
	legacy  bool
	weak    tlspolicy.Weaknesses
	weakFor []string
}

// Route proposes a route that heals what these clients do, as a part of a configuration:
// it listens at an address and leads to a server. It is "" where there is nothing to
// heal, or nothing that a route can.
func Route(callers []Caller, listen, server string) string {
	p := proposal{clients: map[string][]string{}, options: map[string][]string{}}
	for _, c := range callers {
		p.add(c)
	}
	if len(p.clients) == 0 && p.weak == 0 && !p.legacy && !p.hide && !p.logIn {
		return ""
	}
	return p.text(listen, server)
}

func (p *proposal) add(c Caller) {
	address := c.Client.String()
	for _, r := range c.rows {
		p.logIn = p.logIn || r.setting == loginSetting
		if r.rule == "" {
			continue
		}
		if !slices.Contains(p.clients[r.rule], address) {
			p.clients[r.rule] = append(p.clients[r.rule], address)
		}
		if r.option != "" && !slices.Contains(p.options[r.rule], r.option) {
			p.options[r.rule] = append(p.options[r.rule], r.option)
		}
	}
	p.hide = p.hide || c.base&noTLS != 0
	p.tls, p.legacy, p.weak = p.tls || c.seen.tls, p.legacy || c.cbc, p.weak|c.weak
	if c.weak != 0 {
		p.weakFor = append(p.weakFor, address)
	}
}

func (p *proposal) text(listen, server string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[route]]\nname    = \"clients\"\nlisten  = [%q]\nservers = [%q]\n", listen, server)
	rules, keys := []string{"standard"}, []string{}
	standard := standardRules()
	for _, rule := range heal.Table() {
		clients := p.clients[rule.Name]
		if len(clients) == 0 {
			continue
		}
		if key, is := keyed[rule.Name]; is {
			keys = append(keys, key(clients))
		} else if !slices.Contains(standard, rule.Name) {
			rules = append(rules, rule.Name)
			p.options[rule.Name] = append(p.options[rule.Name], "clients = "+array(clients))
		}
	}
	fmt.Fprintf(&b, "rules   = %s\n", array(rules))
	for _, key := range keys {
		if key != "" {
			fmt.Fprintln(&b, key)
		}
	}
	if p.logIn {
		fmt.Fprintln(&b, "# and its logins: see [[account]] and [[route.login]]")
	}
	for _, rule := range heal.Table() {
		if lines := p.options[rule.Name]; lines != nil && keyed[rule.Name] == nil {
			fmt.Fprintf(&b, "\n[route.options.%s]\n%s\n", rule.Name, strings.Join(lines, "\n"))
		}
	}
	p.clientTLS(&b)
	return b.String()
}

// clientTLS is the table of TLS with clients.
func (p *proposal) clientTLS(b *strings.Builder) {
	switch {
	case p.hide:
		fmt.Fprint(b, "\n[route.client_tls]\nmode = \"hide\"\n")
		return
	case !p.tls:
		return
	}
	fmt.Fprint(b, "\n[route.client_tls]\nmode        = \"offer\"\ncertificate = \"self-signed\" # or the files of one that the client believes\n")
	if p.legacy {
		fmt.Fprint(b, "ciphers     = \"legacy\"\n")
	}
	if p.weak != 0 {
		fmt.Fprintf(b, "\n[[route.client_tls.weak]]\nallow    = %s\nnetworks = %s\n", array(namesOf(p.weak)), array(p.weakFor))
	}
	// Else what the client has encrypted goes on in clear.
	fmt.Fprint(b, "\n[route.server_tls]\nmode = \"opportunistic\" # or \"require\", if the server has a right certificate\n")
}

// namesOf are the names of weaknesses, one by one.
func namesOf(weak tlspolicy.Weaknesses) (names []string) {
	for _, w := range weak.List() {
		names = append(names, w.String())
	}
	return names
}

// standardRules are the rules of the set that a route has where it names none.
func standardRules() []string {
	sets := heal.Sets()
	return sets[slices.IndexFunc(sets, func(s rewrite.Set) bool { return s.Name == "standard" })].Rules
}

// array is a list as TOML has it.
func array(list []string) string {
	quoted := make([]string, len(list))
	for i, text := range list {
		quoted[i] = fmt.Sprintf("%q", text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
