package page

import (
	"fmt"
	"strings"
)

// An Observed is what the rules of a route would have done that are observed and do not
// act.
type Observed struct {
	Route             string
	Sessions, Clients int
	Rules             []ObservedRule // most clients first
}

// An ObservedRule is one that would have acted.
type ObservedRule struct {
	Name    string
	Clients int      // different ones
	Named   []string // some of them
	Line    string   // the first that would have been changed: any octets; "": it is not to be told
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

// mostNamed is how many clients of a rule the page names.
const mostNamed = 5

// observed is what the rules of each route would have done that do not act.
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
				reason:  reasons(r.Name, p.Rules)[0],
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
