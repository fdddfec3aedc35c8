package page

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"smtpshim/metrics"
	"smtpshim/rewrite/vocabulary"
)

// The page has so many sessions, and lines of one, at most: it is to be read.
const (
	mostSessions = 50
	mostLines    = 400
)

// A Filter is what the reader wants to see of the sessions.
type Filter struct {
	Route   string // "": of all
	Healed  bool   // those alone in which a rule acted
	Outcome string // as vocabulary.Outcome.Named has it; with it, those alone that have ended
}

// filterOf reads the filter from a request's query.
func filterOf(r *http.Request) Filter {
	query := r.URL.Query()
	return Filter{query.Get("route"), query.Get("healed") != "", query.Get("outcome")}
}

func (f Filter) wants(s *Session, v sessionView) bool {
	return (f.Route == "" || s.Route == f.Route) && (!f.Healed || len(v.Rules) > 0) &&
		(f.Outcome == "" || s.Ended && s.Outcome.Named(f.Outcome))
}

// A view is what the template shows, in words.
type view struct {
	Version, Now string
	NotReady     string // why; "": it is
	Stale        string // why; "": it is not
	Filter       Filter
	Outcomes     []string // to choose from
	Routes       []routeView
	Sessions     []sessionView
}

type routeView struct {
	Name                                string
	Listen                              []string
	Active, Sessions, Messages, Changed string
	Servers                             []metrics.Server
	Certificates                        []certificateView
	Rules                               []ruleView
	Observed                            *observedView // nil: its rules act
}

type ruleView struct {
	reason
	Times string
	Idle  bool // has not acted since we began
}

type certificateView struct {
	Name, Side, Left string
	Until            string
	Class            string // "bad": over, "soon": within two weeks
}

type sessionView struct {
	ID, Route, Client, Server string
	Began, BeganAt            string // for people; for machines
	Outcome, Class            string
	Refused                   string // verb and code, where that is why; ""
	Rules                     []string
	Facts                     []fact
	Turns                     []turn
	Open                      bool
}

type fact struct{ Name, Value string }

func (p *page) view(f Filter, now time.Time) view {
	v := view{Version: p.Version, Now: clock(now, now), Filter: f, Outcomes: vocabulary.OutcomeNames()}
	if err := p.Ready(); err != nil {
		v.NotReady = err.Error()
	}
	if why := p.Stale(); why != "" {
		v.Stale = quoted(why)
	}
	counted, servers, certificates := count(p.Gatherer), p.Servers(), p.Certificates()
	for _, r := range p.Routes() {
		n := func(name, by string) string { return grouped(counted[series{"smtpshim_" + name, r.Name, by}]) }
		route := routeView{Name: r.Name, Listen: r.Listen, Active: n("sessions_active", ""), Sessions: n("sessions_total", ""),
			Messages: n("messages_total", string(vocabulary.MessageAccepted)), Changed: n("rule_applied_total", "")}
		for _, name := range r.Rules {
			times := n("rule_applied_total", name)
			route.Rules = append(route.Rules, ruleView{reasons(name, p.Rules)[0], times, times == "0"})
		}
		for _, s := range servers {
			if s.Route == r.Name {
				route.Servers = append(route.Servers, s)
			}
		}
		for _, c := range certificates {
			if c.Route == r.Name {
				route.Certificates = append(route.Certificates, certificate(c, now))
			}
		}
		route.Observed = p.observed(r.Name)
		v.Routes = append(v.Routes, route)
	}
	for _, s := range p.Sessions() {
		if len(v.Sessions) == mostSessions {
			break
		}
		if session := p.session(&s, now); f.wants(&s, session) {
			v.Sessions = append(v.Sessions, session)
		}
	}
	if len(v.Sessions) > 0 {
		v.Sessions[0].Open = true
	}
	return v
}

func certificate(c metrics.Certificate, now time.Time) certificateView {
	days := int(c.NotAfter.Sub(now).Hours() / 24)
	v := certificateView{Name: quoted(c.Name), Side: c.Side, Left: fmt.Sprintf("%d days left", days), Until: c.NotAfter.Format(time.DateOnly)}
	switch {
	case now.After(c.NotAfter):
		v.Left, v.Class = "has ended", "bad"
	case days == 1:
		v.Left, v.Class = "1 day left", "soon"
	case days < 14:
		v.Class = "soon"
	}
	return v
}

func (p *page) session(s *Session, now time.Time) sessionView {
	v := sessionView{ID: s.ID, Route: s.Route, Client: quotedOr(s.Client, "unknown client"), Server: quotedOr(s.Server, "no server"),
		Began: clock(s.Began, now), BeganAt: s.Began.Format(time.RFC3339), Outcome: string(s.Outcome), Class: "bad"}
	lines := s.Lines
	if more := len(lines) - mostLines; more > 0 {
		lines = append(slices.Clone(lines[:mostLines]), Line{After: lines[mostLines].After, Text: fmt.Sprintf("%d more lines", more)})
	}
	v.Turns = turns(lines, p.Rules)
	v.Rules = acted(s, v.Turns)
	if !s.Ended {
		v.Outcome, v.Class, v.Server = "under way", "live", ""
		return v
	}
	if !s.Outcome.Failed() {
		v.Class = "ok"
	}
	v.Facts = []fact{
		{"hello", quotedOr(s.Hello, "none")},
		{"messages", fmt.Sprintf("%s (%s octets)", grouped(int64(s.Messages)), grouped(s.Octets))},
		{"lasted", s.Lasted.Round(time.Millisecond).String()},
		{"TLS", "client " + cmp.Or(s.ClientTLS, "in clear") + ", server " + cmp.Or(s.ServerTLS, "in clear")},
	}
	if s.ClientAuth != "" || s.ServerAuth != "" {
		v.Facts = append(v.Facts, fact{"AUTH", "client " + cmp.Or(string(s.ClientAuth), "none") + ", server " + cmp.Or(string(s.ServerAuth), "none")})
	}
	if would := times(s.Would); len(would) > 0 {
		v.Facts = append(v.Facts, fact{"would act", strings.Join(would, ", ")})
	}
	if len(s.Products) > 0 {
		v.Facts = append(v.Facts, fact{"product", strings.Join(s.Products, "; ")})
	}
	if r := s.Refused; r.Code != 0 {
		v.Facts = append(v.Facts, fact{"refused", fmt.Sprintf("%s: %d %s", r.Verb, r.Code, quotedOr(r.Text, "(no text)"))})
		if r.Means != "" {
			v.Facts = append(v.Facts, fact{"means", r.Means}, fact{"what to do", r.Do})
		}
		if s.Outcome == vocabulary.OutcomeRefused {
			v.Refused = fmt.Sprintf("%s %d", r.Verb, r.Code)
		}
	}
	if s.Err != "" {
		v.Facts = append(v.Facts, fact{"while", quotedOr(s.While, "unknown")}, fact{"trouble", quoted(s.Err)})
	}
	return v
}

// acted names the rules of a session, each with how often it acted if that was
// more than once. Before its end that is what the turns show.
func acted(s *Session, turns []turn) []string {
	acts := s.Rules
	if !s.Ended {
		acts = map[string]int{}
		for _, t := range turns {
			for _, b := range t.Blocks {
				for _, why := range b.Why {
					if why.Source != "" { // not of the configuration
						acts[why.Name]++
					}
				}
			}
		}
	}
	return times(acts)
}

// times names rules, each with how often if that is more than once.
func times(rules map[string]int) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		if n := rules[name]; n > 1 {
			name += " ×" + strconv.Itoa(n)
		}
		list = append(list, name)
	}
	return list
}

func quotedOr(text, none string) string {
	if text == "" {
		return none
	}
	return quoted(text)
}

// clock is a time of today, or one with its day.
func clock(t, now time.Time) string {
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}

// grouped writes a number with a comma before every three digits.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
