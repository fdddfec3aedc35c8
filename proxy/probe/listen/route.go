package listen

import (
	"fmt"
	"slices"
	"strings"

	"smtpshim/proxy/probe"
	"smtpshim/proxy/tlspolicy"
	"smtpshim/rewrite/heal"
)

// keyed are rules that are not in force by their names but by a key of a route. Each
// function returns the key that makes the rule act for some clients. "" means that the
// rule acts by default.
var keyed = map[string]func(clients []string) string{
	"stray-bytes": func([]string) string { return "" },
	"lf-ends":     func(clients []string) string { return "lf_ends = " + array(clients) },
	"long-lines":  func([]string) string { return `long_lines = "fold"` },
}

// A proposal is a route that heals what some clients do.
type proposal struct {
	clients map[string][]string // the clients that need each rule
	options map[string][]string // options of rules, as lines
	logIn   bool                // a client needs the route to log in
	hide    bool                // a client only delivers messages without STARTTLS
	tls     bool
	legacy  bool
	weak    tlspolicy.Weaknesses
	weakFor []string
}

// Route returns the text of a [[route]] with the rules and settings that heal the
// faults of callers. listen is the address at which the route listens, and server the
// address of its server. For logins that a client needs, the text has only a comment
// that names [[account]] and [[route.login]]. Route returns "" if callers have no fault
// that a route can heal.
func Route(callers []Caller, listen, server string) string {
	p := proposal{clients: map[string][]string{}, options: map[string][]string{}}
	for _, c := range callers {
		p.add(c)
	}
	if len(p.clients) == 0 && p.weak == 0 && !p.legacy && !p.hide && !p.logIn {
		return ""
	}
	return probe.Proposal{Rules: p.rules(), Settings: p.settings()}.Route("clients", listen, server)
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

// rules returns the rules and sets of the route.
func (p *proposal) rules() []string {
	list := []string{"standard"}
	for _, rule := range heal.Table() {
		if p.clients[rule.Name] != nil && p.named(rule.Name) {
			list = append(list, rule.Name)
		}
	}
	return list
}

// named reports whether a rule is only in force if a route names it.
func (p *proposal) named(rule string) bool {
	return keyed[rule] == nil && !slices.Contains(heal.Sets()[0].Rules, rule)
}

// settings returns the other lines of the route.
func (p *proposal) settings() (list []string) {
	for _, rule := range heal.Table() {
		clients := p.clients[rule.Name]
		if clients == nil {
			continue
		}
		if key := keyed[rule.Name]; key != nil {
			if line := key(clients); line != "" {
				list = append(list, line)
			}
			continue
		}
		options := p.options[rule.Name]
		if p.named(rule.Name) {
			options = append(options, "clients = "+array(clients))
		}
		for _, option := range options {
			list = append(list, "options."+rule.Name+"."+option)
		}
	}
	if p.logIn {
		list = append(list, "# and its logins: see [[account]] and [[route.login]]")
	}
	return append(list, p.clientTLS()...)
}

// clientTLS returns the settings of TLS with clients.
func (p *proposal) clientTLS() []string {
	switch {
	case p.hide:
		return []string{`client_tls.mode = "hide"`}
	case !p.tls:
		return nil
	}
	list := []string{`client_tls.mode = "offer"`, `client_tls.certificate = "self-signed" # or the files of one that the client believes`}
	if p.legacy {
		list = append(list, `client_tls.ciphers = "legacy"`)
	}
	if p.weak != 0 {
		list = append(list, fmt.Sprintf("client_tls.weak = [{allow = %s, networks = %s}]", array(namesOf(p.weak)), array(p.weakFor)))
	}
	// Otherwise what the client has encrypted would be sent on in clear.
	return append(list, `server_tls.mode = "opportunistic" # or "require", if the server has a right certificate`)
}

// namesOf returns the names of weaknesses.
func namesOf(weak tlspolicy.Weaknesses) (names []string) {
	for _, w := range weak.List() {
		names = append(names, w.String())
	}
	return names
}

// array returns a list in TOML.
func array(list []string) string {
	quoted := make([]string, len(list))
	for i, text := range list {
		quoted[i] = fmt.Sprintf("%q", text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
