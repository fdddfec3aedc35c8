package page

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"smtpshim/metrics"
	"smtpshim/rewrite/vocabulary"
)

// fewRoutes is the largest number of routes that are shown expanded.
const fewRoutes = 3

type routeView struct {
	Name                                string
	Listen                              []string
	Active, Sessions, Messages, Changed string
	Servers                             []metrics.Server
	Down                                string // the servers that are down, in words; "": none is
	Certificates                        []certificateView
	Acted, Idle                         []ruleView    // rules in force that have acted since the start, and that have not
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
	Class            string // "bad": it has ended; "soon": it ends within two weeks
}

// routes returns all routes, in the order of the configuration.
func (p *page) routes(now time.Time) []routeView {
	counted, servers, certificates, observed := count(p.Gatherer), p.Servers(), p.Certificates(), p.observed()
	var list []routeView
	for _, r := range p.Routes() {
		n := func(name, by string) int64 { return counted[series{"smtpshim_" + name, r.Name, by}] }
		route := routeView{Name: r.Name, Listen: r.Listen, Active: grouped(n("sessions_active", "")), Sessions: grouped(n("sessions_total", "")),
			Messages: grouped(n("messages_total", string(vocabulary.MessageAccepted))), Changed: grouped(n("rule_applied_total", ""))}
		for _, name := range r.Rules {
			times := n("rule_applied_total", name)
			rule := ruleView{reasons(name, p.Rule)[0], grouped(times), times}
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
		route.Observed = observed[r.Name]
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

// A problem is a problem of a route that does not depend on its sessions.
type problem struct{ Route, Text string }

// The largest number of problems, and of reasons for not being ready, at the top of the
// page, so that sessions begin on the first screen. The routes show all of them.
const (
	mostProblems = 4
	mostReasons  = 2
)

// problemsOf returns the routes with servers that are down, followed by those with
// certificates that have ended or end soon.
func problemsOf(routes []routeView) []problem {
	var list []problem
	for _, r := range routes {
		if r.Down != "" {
			list = append(list, problem{r.Name, r.Down})
		}
	}
	for _, class := range []string{"bad", "soon"} {
		for _, r := range routes {
			for _, c := range r.Certificates {
				if c.Class == class {
					list = append(list, problem{r.Name, "certificate " + c.Name + " to " + c.Side + "s: " + c.Left})
				}
			}
		}
	}
	return list
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return grouped(int64(n)) + " " + what
}
