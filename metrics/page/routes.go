package page

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"smtpshim/metrics"
	"smtpshim/rewrite/vocabulary"
)

// Up to so many routes are shown open.
const fewRoutes = 3

type routeView struct {
	Name                                string
	Listen                              []string
	Active, Sessions, Messages, Changed string
	Servers                             []metrics.Server
	Down                                string // how many servers are; "": none is
	Certificates                        []certificateView
	Acted, Idle                         []ruleView // rules in force, by whether they have acted since we began
	Observed                            *observedView // nil: its rules act
	Open                                bool
}

type ruleView struct {
	reason
	Times string
	times int64
}

type certificateView struct {
	Name, Side, Left string
	Until            string
	Class            string // "bad": over, "soon": within two weeks
}

// routes describes all routes, in the order of the configuration.
func (p *page) routes(now time.Time) []routeView {
	counted, servers, certificates := count(p.Gatherer), p.Servers(), p.Certificates()
	var list []routeView
	for _, r := range p.Routes() {
		n := func(name, by string) int64 { return counted[series{"smtpshim_" + name, r.Name, by}] }
		route := routeView{Name: r.Name, Listen: r.Listen, Active: grouped(n("sessions_active", "")), Sessions: grouped(n("sessions_total", "")),
			Messages: grouped(n("messages_total", string(vocabulary.MessageAccepted))), Changed: grouped(n("rule_applied_total", ""))}
		for _, name := range r.Rules {
			times := n("rule_applied_total", name)
			rule := ruleView{reasons(name, p.Rules)[0], grouped(times), times}
			if times > 0 {
				route.Acted = append(route.Acted, rule)
			} else {
				route.Idle = append(route.Idle, rule)
			}
		}
		slices.SortStableFunc(route.Acted, func(a, b ruleView) int { return cmp.Compare(b.times, a.times) })
		down := 0
		for _, s := range servers {
			if s.Route == r.Name {
				route.Servers = append(route.Servers, s)
				if !s.Up {
					down++
				}
			}
		}
		if down > 0 {
			route.Down = fmt.Sprintf("%d of %s down", down, plural(len(route.Servers), "server"))
		}
		for _, c := range certificates {
			if c.Route == r.Name {
				route.Certificates = append(route.Certificates, certificate(c, now))
			}
		}
		route.Observed = p.observed(r.Name)
		list = append(list, route)
	}
	for i := range list {
		list[i].Open = len(list) <= fewRoutes
	}
	return list
}

func certificate(c metrics.Certificate, now time.Time) certificateView {
	days := int(c.NotAfter.Sub(now).Hours() / 24)
	v := certificateView{Name: quoted(c.Name), Side: c.Side, Left: plural(days, "day") + " left", Until: c.NotAfter.Format(time.DateOnly)}
	switch {
	case now.After(c.NotAfter):
		v.Left, v.Class = "has ended", "bad"
	case days < 14:
		v.Class = "soon"
	}
	return v
}

// A problem is what somebody should look at in a route, whatever its sessions do.
type problem struct{ Route, Class, Text string }

// mostProblems are shown at the top; the page has all of them further down.
const mostProblems = 5

// problemsOf lists servers that are down and certificates that end, the worst first.
func problemsOf(routes []routeView) []problem {
	var list []problem
	for _, r := range routes {
		for _, s := range r.Servers {
			if !s.Up {
				list = append(list, problem{r.Name, "bad", "the server " + s.Name + " is down"})
			}
		}
		for _, c := range r.Certificates {
			if c.Class != "" {
				list = append(list, problem{r.Name, c.Class, "the certificate of " + c.Name + " to " + c.Side + "s: " + c.Left})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b problem) int { return cmp.Compare(a.Class, b.Class) }) // "bad", "soon"
	return list
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return grouped(int64(n)) + " " + what
}
