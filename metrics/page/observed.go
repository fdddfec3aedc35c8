package page

import (
	"fmt"
	"strings"
)

// An Observed is what the observed rules of a route would have done.
type Observed struct {
	Route             string
	Sessions, Clients int            // number of ended sessions, and of different clients in them
	Rules             []ObservedRule // in descending order of Clients
}

// An ObservedRule is an observed rule that would have acted.
type ObservedRule struct {
	Name    string
	Clients int      // number of different clients in whose sessions it would have acted
	Named   []string // addresses of the first of these clients
	// Line is the first line that the rule would have changed. Lines of messages, and
	// lines that may contain a secret, do not count. Line is "" if the rule would have
	// changed no other line. It may contain any octets.
	Line string
}

// An observedView is an Observed in words.
type observedView struct {
	Route, Seen string
	Rules       []observedRuleView
}

type observedRuleView struct {
	reason
	Clients, Whom, Line string
}

// mostNamed is the number of clients that the page shows for a rule.
const mostNamed = 5

// observed returns what observed rules would have done, by route.
func (p *page) observed() map[string]*observedView {
	if p.Observed == nil {
		return nil
	}
	views := map[string]*observedView{}
	for _, o := range p.Observed() {
		v := &observedView{Route: o.Route, Seen: fmt.Sprintf("seen: %s of %s", plural(o.Sessions, "session"), plural(o.Clients, "client"))}
		for _, r := range o.Rules {
			named := r.Named
			more := ""
			if len(named) > mostNamed {
				named, more = named[:mostNamed], ", ..."
			}
			rule := observedRuleView{
				reason:  reasons(r.Name, p.Rule)[0],
				Clients: fmt.Sprintf("%s of %s", grouped(int64(r.Clients)), plural(o.Clients, "client")),
				Whom:    quoted(strings.Join(named, ", ") + more),
			}
			if r.Line != "" {
				rule.Line = quoted(r.Line)
			}
			v.Rules = append(v.Rules, rule)
		}
		views[o.Route] = v
	}
	return views
}
