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

// query is the filter as filterOf reads it.
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

// healed says that a rule has acted in a session. Before its end that is what its lines
// show; what the configuration alone changes heals nothing.
func (p *page) healed(s *Session) bool {
	if s.Ended {
		return len(s.Rules) > 0
	}
	return slices.ContainsFunc(s.Lines, func(l Line) bool {
		for name := range strings.SplitSeq(l.Rule, ",") {
			if p.Rules[name].Source != "" {
				return true
			}
		}
		return false
	})
}

// A view is what the template shows, in words.
type view struct {
	Version, Now string
	NotReady     []string // why; none: it is
	Failed       []reloadView
	Problems     []problem
	MoreProblems int
	Filter       Filter
	Choices      []choice
	Outcomes     []string // to choose from
	Routes       []routeView
	Sessions     []sessionView
	More         int // sessions that are wanted and not shown
}

// A reloadView is a reload that failed.
type reloadView struct {
	What, At, Since string // At is for people, Since for machines
	Errs            []string
}

// A choice is a link to the sessions of one kind, on the route that is looked at.
type choice struct {
	ID, Name, Link, Count string
	Current               bool
}

type sessionView struct {
	ID, Route, Client, Server string
	Began, BeganAt            string // for people; for machines
	Outcome, Class            string
	Refused                   string // the reply, where one is why; ""
	Trouble                   string // the error, where one is why; ""
	Causes                    []causeView
	Rules                     []string
	Facts                     []fact
	Turns                     []turn
	LineCount                 string
	Recording, Replay         string // where they are to be had; "": nowhere
	Open                      bool
}

type causeView struct {
	Cause
	Described bool // there is a description of the rule
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

// choices are the kinds of sessions that people look for, each with how many there are.
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
	v.Turns = turns(lines, p.Rules)
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

// tellFailure tells why a session failed, or a recipient was refused: what was said,
// what is known of it, and what to do.
func (p *page) tellFailure(s *Session, v *sessionView) {
	if r := s.Refused; r.Code != 0 {
		v.Refused = fmt.Sprintf("%s: %d %s", r.Verb, r.Code, quotedOr(r.Text, "(no text)"))
	}
	if s.Outcome.Failed() && s.Err != "" {
		v.Trouble = strings.TrimPrefix(s.While+": "+quoted(s.Err), ": ")
	}
	if s.Causes != nil {
		for _, c := range s.Causes() {
			v.Causes = append(v.Causes, causeView{c, p.Rules[c.Rule].Description != nil})
		}
	}
}

// acted names the rules of a session, each with how often it acted if that was
// more than once. Before its end that is what the turns show.
func acted(s *Session, turns []turn) []string {
	times := s.Rules
	if !s.Ended {
		times = map[string]int{}
		for _, t := range turns {
			for _, b := range t.Blocks {
				for _, why := range b.Why {
					if why.Source != "" { // not of the configuration
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
