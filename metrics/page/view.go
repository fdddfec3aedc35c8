package page

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"smtpshim/rewrite/vocabulary"
)

// The largest number of sessions on the page, and of lines of one session.
const (
	mostSessions = 50
	mostLines    = 400
)

// A Filter selects sessions: those for which all of its fields hold.
type Filter struct {
	Route   string // "": all routes
	Healed  bool   // true: only sessions in which a rule has acted
	Outcome string // "": all; otherwise only ended sessions whose outcome it names: see vocabulary.Outcome.Named
}

// filterOf parses the filter in a request's query.
func filterOf(r *http.Request) Filter {
	query := r.URL.Query()
	return Filter{query.Get("route"), query.Get("healed") != "", query.Get("outcome")}
}

// query returns the filter in the form that filterOf parses.
func (f Filter) query() string {
	query := url.Values{}
	for _, q := range []struct{ name, value string }{{"route", f.Route}, {"outcome", f.Outcome}} {
		if q.value != "" {
			query.Set(q.name, q.value)
		}
	}
	if f.Healed {
		query.Set("healed", "1")
	}
	return "?" + query.Encode()
}

func (p *page) wants(f Filter, s *Session) bool {
	return (f.Route == "" || s.Route == f.Route) && (!f.Healed || p.healed(s)) &&
		(f.Outcome == "" || s.Ended && s.Outcome.Named(f.Outcome))
}

// healed reports whether a rule has acted in a session. Before the session ends, its
// lines show that. Changes by the configuration do not count.
func (p *page) healed(s *Session) bool {
	if s.Ended {
		for name := range s.Rules {
			if !vocabulary.IsSafeguard(name) {
				return true
			}
		}
		return false
	}
	return slices.ContainsFunc(s.Lines, func(l Line) bool {
		for name := range strings.SplitSeq(l.Rule, ",") {
			if p.Rule(name).Source != "" {
				return true
			}
		}
		return false
	})
}

// A view is what the template shows, in words.
type view struct {
	Version, Now string
	NotReady     []string // the reasons; none: ready
	Failed       []reloadView
	Problems     []problem
	MoreProblems int
	Filter       Filter
	Choices      []choice
	Outcomes     []string // names to choose from
	Routes       []routeView
	Sessions     []sessionView
	More         int // matching sessions that are not shown
}

// A reloadView is a failed reload.
type reloadView struct {
	What, At, Since string // At is for people, Since for machines
	Errs            []string
}

// A choice is a link to the sessions of one kind, on the chosen route.
type choice struct {
	ID, Name, Link, Count string
	Current               bool
}

type sessionView struct {
	ID, Route, Client, Server string
	Began, BeganAt            string // for people and for machines
	Outcome, Class            string
	Refused                   string // the reply that refused mail; "": none
	Trouble                   string // the error that ended the session; "": none
	Causes                    []causeView
	Rules                     []string
	Facts                     []fact
	Turns                     []turn
	LineCount                 string
	Recording, Replay         string // links; "": there is none
	Open                      bool
}

type causeView struct {
	Cause
	Described bool // the rule has a description
}

type fact struct{ Name, Value string }

func (p *page) view(f Filter, now time.Time) view {
	v := view{Version: p.Version, Now: clock(now, now), Filter: f, Outcomes: vocabulary.OutcomeNames(), Routes: p.routes(now)}
	if err := p.Ready(); err != nil {
		v.NotReady = strings.Split(quoted(strings.ReplaceAll(err.Error(), "\n", "; ")), "; ")
		if more := len(v.NotReady) - mostReasons; more > 0 {
			v.NotReady = append(v.NotReady[:mostReasons], fmt.Sprintf("%d more", more))
		}
	}
	for _, r := range p.FailedReloads() {
		failed := reloadView{What: quoted(r.What), At: clock(r.At, now), Since: r.At.Format(time.RFC3339)}
		for _, err := range r.Errs {
			failed.Errs = append(failed.Errs, quoted(err))
		}
		v.Failed = append(v.Failed, failed)
	}
	v.Problems = problemsOf(v.Routes)
	if more := len(v.Problems) - mostProblems; more > 0 {
		v.Problems, v.MoreProblems = v.Problems[:mostProblems], more
	}
	sessions := p.Sessions()
	for i := range sessions {
		s := &sessions[i]
		switch {
		case !p.wants(f, s):
		case len(v.Sessions) == mostSessions:
			v.More++
		default:
			v.Sessions = append(v.Sessions, p.session(s, now))
		}
	}
	if len(v.Sessions) == 1 {
		v.Sessions[0].Open = true
	}
	v.Choices = p.choices(f, sessions)
	return v
}

// choices returns the kinds of sessions that people look for, each with the number of its
// sessions.
func (p *page) choices(f Filter, sessions []Session) []choice {
	list := []choice{{ID: "all", Name: "All"}, {ID: "failed", Name: "Failed"}, {ID: "refused", Name: "Refused"}, {ID: "healed", Name: "Healed"}}
	filters := []Filter{{}, {Outcome: vocabulary.AnyFailed}, {Outcome: string(vocabulary.OutcomeRefused)}, {Healed: true}}
	for i := range list {
		kind := filters[i]
		kind.Route = f.Route
		n := 0
		for j := range sessions {
			if p.wants(kind, &sessions[j]) {
				n++
			}
		}
		list[i].Link, list[i].Count, list[i].Current = kind.query(), grouped(int64(n)), kind == f
	}
	return list
}

func (p *page) session(s *Session, now time.Time) sessionView {
	v := sessionView{ID: s.ID, Route: s.Route, Client: quotedOr(s.Client, "unknown client"), Server: quotedOr(s.Server, "no server"),
		Began: clock(s.Began, now), BeganAt: s.Began.Format(time.RFC3339), Outcome: string(s.Outcome), Class: "bad", LineCount: plural(len(s.Lines), "line")}
	lines := s.Lines
	if more := len(lines) - mostLines; more > 0 {
		lines = append(slices.Clone(lines[:mostLines]), Line{After: lines[mostLines].After, Text: fmt.Sprintf("%d more lines", more)})
	}
	v.Turns = turns(lines, p.Rule)
	v.Rules = acted(s, v.Turns)
	if !s.Ended {
		v.Outcome, v.Class, v.Server = "under way", "live", ""
		return v
	}
	if !s.Outcome.Failed() {
		v.Class = "ok"
	}
	if s.Recorded != nil && s.Recorded() {
		v.Recording, v.Replay = "recording?"+url.Values{"session": {s.ID}}.Encode(), p.replayOf(s)
	}
	p.tellFailure(s, &v)
	v.Facts = append(v.Facts,
		fact{"hello", quotedOr(s.Hello, "none")},
		fact{"messages", fmt.Sprintf("%s (%s octets)", grouped(int64(s.Messages)), grouped(s.Octets))},
		fact{"lasted", s.Lasted.Round(time.Millisecond).String()},
		fact{"TLS", "client " + cmp.Or(s.ClientTLS, "in clear") + ", server " + cmp.Or(s.ServerTLS, "in clear")})
	if s.ClientAuth != "" || s.ServerAuth != "" {
		v.Facts = append(v.Facts, fact{"AUTH", "client " + cmp.Or(string(s.ClientAuth), "none") + ", server " + cmp.Or(string(s.ServerAuth), "none")})
	}
	if len(s.Products) > 0 {
		v.Facts = append(v.Facts, fact{"product", strings.Join(s.Products, "; ")})
	}
	return v
}

// tellFailure describes why a session failed or a recipient was refused: what was said,
// what is known about that, and what to do.
func (p *page) tellFailure(s *Session, v *sessionView) {
	if r := s.Refused; r.Code != 0 {
		v.Refused = fmt.Sprintf("%s: %d %s", r.Verb, r.Code, quotedOr(r.Text, "(no text)"))
	}
	if s.Outcome.Failed() && s.Err != "" {
		v.Trouble = strings.TrimPrefix(s.While+": "+quoted(s.Err), ": ")
	}
	if s.Causes != nil {
		for _, c := range s.Causes() {
			v.Causes = append(v.Causes, causeView{c, p.Rule(c.Rule).Description != nil})
		}
	}
}

// acted returns the names of the rules of a session, each with the number of times it
// acted if that is more than one. Before the session ends, the turns show that.
func acted(s *Session, turns []turn) []string {
	times := s.Rules
	if !s.Ended {
		times = map[string]int{}
		for _, t := range turns {
			for _, b := range t.Blocks {
				for _, why := range b.Why {
					if why.Source != "" { // a rule, not a setting of the configuration
						times[why.Name]++
					}
				}
			}
		}
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(times)) {
		if n := times[name]; n > 1 {
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

// clock formats a time of today, or a time with its day.
func clock(t, now time.Time) string {
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}

// grouped formats a number with commas between groups of three digits.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
