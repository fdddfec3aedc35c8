package rewrite

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// ScopeOptions returns the options that every rule has. Each limits the rule to some
// sessions.
func ScopeOptions() []Option {
	return []Option{
		{Name: "clients", Default: []string{}, Doc: "the rule acts for clients in these networks only"},
		{Name: "hello", Default: "", Doc: "the rule acts once the client has sent EHLO or HELO with a name that matches this regular expression"},
		{Name: "banner", Default: "", Doc: "the rule acts only before servers whose greeting matches this regular expression"},
	}
}

// A scope says in which sessions a rule acts. The zero scope means all sessions.
type scope struct {
	clients       []netip.Prefix
	hello, banner *regexp.Regexp
	products      productSet // one of these; 0: any product or none
}

func (s *scope) isEverySession() bool {
	return s.clients == nil && s.hello == nil && s.banner == nil && s.products == 0
}

// newScope reads ScopeOptions from o. given are the options present in the configuration.
func newScope(rule string, o Options, given map[string]any) (s scope, errs []error) {
	wrong := func(option string, err error) { errs = append(errs, &ConfigError{rule, option, err}) }
	if list, ok := given["clients"].([]any); ok && len(list) == 0 {
		wrong("clients", errors.New("the list is empty, so the rule would never act; leave the option out to let it act for every client"))
	}
	for _, text := range o.List("clients") {
		network, err := ParseNetwork(text)
		if err != nil {
			wrong("clients", err)
		}
		s.clients = append(s.clients, network)
	}
	for name, to := range map[string]**regexp.Regexp{"hello": &s.hello, "banner": &s.banner} {
		text := o.Text(name)
		if text == "" {
			continue
		}
		re, err := regexp.Compile(text)
		if err != nil {
			wrong(name, fmt.Errorf("%q is not a regular expression (RE2): %w", text, err))
		}
		*to = re
	}
	return s, errs
}

// String returns a text that says for which clients, hellos and banners a rule with the
// scope s acts; "" for all of them. It does not name products.
func (s scope) String() string {
	var parts []string
	if s.clients != nil {
		var list []string
		for _, n := range s.clients {
			list = append(list, n.String())
		}
		parts = append(parts, "clients "+strings.Join(list, ", "))
	}
	if s.hello != nil {
		parts = append(parts, fmt.Sprintf("hello %q", s.hello))
	}
	if s.banner != nil {
		parts = append(parts, fmt.Sprintf("banner %q", s.banner))
	}
	return strings.Join(parts, "; ")
}

// InNetworks reports whether the address a is in one of networks. It ignores the zone of
// the address, because no [netip.Prefix] contains an address with a zone. It takes an
// IPv4-mapped IPv6 address for the IPv4 address.
func InNetworks(a netip.Addr, networks []netip.Prefix) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// A reach says which rules with a scope do not act in one session.
type reach struct {
	clients, hello, banner ruleSet // rules whose scope excludes this session
	products               ruleSet // rules for other products, or replaced by a variant for a product
	out                    ruleSet // the rules of all these sets
	known                  recognition
}

// sum sets out after another set has changed.
func (r *reach) sum() {
	r.out = r.products
	for _, s := range []ruleSet{r.clients, r.hello, r.banner} {
		r.out.addAll(s)
	}
}

// outside returns the rules whose scope excludes the session in one respect. matches
// reports whether a scope admits the session in that respect.
func (r *Rules) outside(matches func(*scope) bool) (out ruleSet) {
	for i := range r.rules {
		if !matches(&r.rules[i].scope) {
			out.add(i)
		}
	}
	return out
}

// newReach returns the reach of a session of which only the client is known; nil if no
// rule has a scope.
func (r *Rules) newReach(client netip.Addr) *reach {
	if r == nil || !r.scoped {
		return nil
	}
	at := r.start
	at.clients = r.clientsOutside(client)
	at.sum()
	return &at
}

func (r *Rules) clientsOutside(client netip.Addr) ruleSet {
	if r.start.clients.empty() {
		return ruleSet{} // no rule is limited to clients
	}
	return r.outside(func(s *scope) bool { return s.clients == nil || InNetworks(client, s.clients) })
}

// acts reports whether a rule acts in this session, by what is known so far.
func (d *Dialogue) acts(rule int) bool {
	return d.reach == nil || !d.reach.out.has(rule)
}

// clientIs, helloIs and bannerIs update the reach when the client, its hello or the
// greeting becomes known.
func (d *Dialogue) clientIs(client netip.Addr) {
	d.client = client
	if s := d.observed.shadowOf(); s != nil {
		s.clientIs(client)
	}
	if d.reach != nil {
		d.reach.clients = d.policy.Rules.clientsOutside(client)
		d.forgetProducts(vocabulary.SignCommand)
		d.chooseRules()
	}
}

func (d *Dialogue) helloIs(line []byte) {
	if d.reach != nil && !d.policy.Rules.start.hello.empty() {
		name := Argument(line)
		d.reach.hello = d.policy.Rules.outside(func(s *scope) bool { return s.hello == nil || s.hello.Match(name) })
		d.reach.sum()
	}
}

func (d *Dialogue) bannerIs(raw []byte) {
	if s := d.observed.shadowOf(); s != nil {
		s.bannerIs(raw)
	}
	if d.reach != nil {
		var room [ordinaryText]byte
		text := textOf(room[:0], raw)
		if !d.policy.Rules.start.banner.empty() {
			banner := string(text)
			d.reach.banner = d.policy.Rules.outside(func(s *scope) bool { return s.banner == nil || s.banner.MatchString(banner) })
			d.reach.sum()
		}
		d.greetingTells(text)
	}
}
