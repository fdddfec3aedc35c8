package main

import (
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/metrics"
	"smtpshim/metrics/page"
	"smtpshim/proxy/journal"
	"smtpshim/proxy/record"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/testdata"
	"smtpshim/rewrite/transcript"
	"smtpshim/rewrite/vocabulary"
)

// addPage makes the admin listener show the page, if it may, and ask for the password.
func (p *instance) addPage(admin *http.Server) {
	c := p.config.Load()
	if c.HasPage() {
		stream := page.NewStream(func(f page.Filter) (<-chan journal.Event, func()) {
			return p.journal.Watch(journal.Filter{Route: f.Route, Healed: f.Healed, Outcome: f.Outcome})
		}, p.notice)
		admin.RegisterOnShutdown(stream.Close)
		admin.Handler = page.New(page.Source{
			Version:       buildVersion(),
			Rule:          describer(),
			Ready:         p.readiness,
			Gatherer:      p.gather,
			Routes:        p.shownRoutes,
			Servers:       p.servers,
			Certificates:  func() []metrics.Certificate { return certificatesOf(p.config.Load()) },
			FailedReloads: p.failedReloads,
			Sessions:      p.shownSessions,
			Recording:     p.shownRecording,
			Replay:        p.shownReplay,
			Events:        stream,
			Observed:      p.shownObserved,
			Evidence:      http.HandlerFunc(p.tellObserved),
			AnyHost:       c.Password != nil,
		}, admin.Handler)
	}
	if c.Password != nil {
		admin.Handler = c.Password.Protect(admin.Handler)
	}
}

// notice returns an event for watchers. At the end of a failed session it includes the
// causes.
func (p *instance) notice(e journal.Event) any {
	n := e.Notice()
	if f, ok := failureOf(e.Entry); ok && e.Kind == journal.Ended {
		n.Causes = p.causesOf(f)
	}
	return n
}

// besideRules says what each name means that stands beside a changed line and is no rule.
var besideRules = besidesRules()

func besidesRules() map[string]string {
	says := map[string]string{}
	for cause, text := range map[vocabulary.Cause]string{
		vocabulary.CauseClientTLS:       "The route's client_tls: TLS with the client begins and ends here.",
		vocabulary.CauseServerTLS:       "The route's server_tls: TLS with the server begins and ends here.",
		vocabulary.CauseXCLIENT:         "The route's xclient: who the client is, by XCLIENT.",
		vocabulary.CauseLogin:           "The route's login: smtpshim logs in at the server for the client, or takes the client's login itself.",
		vocabulary.CauseFreshConnection: "A message that was refused before its end has cost the connection to the server: the next mail begins with another.",
		vocabulary.CauseNotCarried:      "What cannot be carried through safely is neither offered nor asked for.",
		vocabulary.CauseMessageSize:     "The route's limit message_size is what is offered.",
		vocabulary.CauseLimits:          "The route's limits of messages and recipients are what is offered by LIMITS.",
	} {
		says[string(cause)] = text
	}
	for safeguard, text := range map[vocabulary.Safeguard]string{
		vocabulary.SafeguardExternal:       "AUTH EXTERNAL is not offered: it would name smtpshim, which ends TLS, and not the client.",
		vocabulary.SafeguardChannelBinding: "Mechanisms that end with -PLUS are not offered: they are bound to one TLS connection, and smtpshim ends TLS.",
		vocabulary.SafeguardAuthInClear:    "Logins that the server offers only inside TLS are not offered to a client in clear. server_tls.auth_in_clear decides.",
		vocabulary.SafeguardRequireTLS:     "REQUIRETLS is not offered: it needs TLS on both sides, and a server whose certificate is verified.",
	} {
		says[string(safeguard)] = text
	}
	return says
}

// describer returns what tells, for the page, what each name means that a changed line can
// have.
func describer() func(name string) page.Rule {
	known := explained()
	return func(name string) page.Rule {
		if strings.HasPrefix(name, heal.ReplacePrefix) {
			return page.Rule{Says: ownRule, Source: "the configuration"}
		}
		return known[name]
	}
}

// ownRule says what a rule is whose name begins with heal.ReplacePrefix.
const ownRule = "A rule of your own: a [[route.replace]] of the configuration."

// explained returns what is said about each name that a changed line can have, except for
// rules of [[route.replace]].
func explained() map[string]page.Rule {
	all := map[string]page.Rule{}
	for name, says := range besideRules {
		all[name] = page.Rule{Says: says}
	}
	for _, r := range heal.Table() {
		all[r.Name] = page.Rule{Says: "Heals " + r.Heals + ".", Source: r.Source, Description: func() page.Description { return shownRule(r) }}
	}
	return all
}

// shownRule describes a rule as "smtpshim rules NAME" does.
func shownRule(r rewrite.Rule) page.Description {
	d := page.Description{Symptoms: r.Symptoms, Does: r.Doc, Sets: setsOf(r.Name)}
	for _, number := range r.Entries {
		if e, ok := covered().Entry(number); ok {
			d.Entries = append(d.Entries, e.Number+" "+e.Wrong)
		}
	}
	for _, o := range r.AllOptions() {
		d.Options = append(d.Options, page.Option{Name: o.Name, Default: tomlValue(o.Default), Says: o.Doc})
	}
	if f, err := testdata.Of(r.Name); f != nil && err == nil { // a test reads all of them
		d.About = f.About
		d.Lines = shownLines(f.Dialogue)
	}
	return d
}

// shownLines returns lines of a dialogue without times.
func shownLines(dialogue []transcript.Line) []page.Line {
	lines := make([]page.Line, len(dialogue))
	for i, l := range dialogue {
		lines[i] = page.Line{Side: byte(l.Side), Mark: byte(l.Mark), Text: l.Text, Rule: l.Rule}
	}
	return lines
}

func (p *instance) shownRoutes() []page.Route {
	var list []page.Route
	for _, r := range p.config.Load().Routes {
		list = append(list, page.Route{Name: r.Name, Listen: r.Listen, Rules: r.Rules.Names()})
	}
	return list
}

// shownProducts returns products in words.
func shownProducts(products []rewrite.Product) []string {
	var list []string
	for _, p := range products {
		list = append(list, p.Name+", by "+signMeans[p.By])
	}
	return list
}

// shownSessions returns the last sessions. The call makes the journal keep the lines of
// coming sessions for a while.
func (p *instance) shownSessions() []page.Session {
	var list []page.Session
	for _, e := range p.journal.Recent() {
		s := page.Session{
			ID: e.ID, Route: e.Route, Began: e.Began, Ended: e.Ended,
			Outcome: e.End.Outcome, Server: e.End.Server, Hello: e.End.Hello, Messages: e.End.Messages, Octets: e.End.Octets,
			Rules: e.End.Rules, ClientTLS: e.End.ClientTLS, ServerTLS: e.End.ServerTLS,
			Products: shownProducts(e.End.Products), ClientAuth: e.End.ClientAuth, ServerAuth: e.End.ServerAuth,
			Refused: page.Refusal(e.End.Refused), While: e.End.While, Err: e.End.Err, Lasted: e.End.Lasted,
		}
		if e.Client.IsValid() {
			s.Client = e.Client.String()
		}
		if e.Ended {
			s.Recorded = func() bool { return p.recorded(&e) }
			s.Replays = p.config.Load().Route(e.Route) != nil
		}
		if f, ok := failureOf(e); ok {
			s.Causes = func() []page.Cause { return p.shownCauses(f) }
		}
		for _, l := range e.Lines {
			s.Lines = append(s.Lines, page.Line{After: l.After, Side: byte(l.Side), Mark: byte(l.Mark), Text: l.Text, Rule: l.Rule})
		}
		list = append(list, s)
	}
	return list
}

// shownCauses returns why a session failed.
func (p *instance) shownCauses(f failure) []page.Cause {
	var list []page.Cause
	for _, c := range p.causesOf(f) {
		list = append(list, page.Cause(c))
	}
	return list
}

// recorded reports whether the page has a recording of an ended session, either the file
// or what the journal keeps.
func (p *instance) recorded(e *journal.Entry) bool {
	return len(e.Lines) > 0 || recordingOf(p.config.Load().Route(e.Route), e) != ""
}

// recordingOf returns the path of a session's recording; "": there is none. r is nil if
// the route no longer exists.
func recordingOf(r *config.Route, e *journal.Entry) string {
	if r == nil || r.Record == nil {
		return ""
	}
	path := r.Record.Path(e)
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Size() > maxRecording {
		return ""
	}
	return path
}

// maxRecording is the size, in octets, of the largest file that is read. Those that we
// write are smaller.
const maxRecording = 1 << 20

// lastEnded returns the session of this name among those that ended last.
func (p *instance) lastEnded(session string) (*journal.Entry, error) {
	recent := p.journal.Recent()
	at := slices.IndexFunc(recent, func(e journal.Entry) bool { return e.ID == session && e.Ended })
	if at < 0 {
		return nil, errors.New("there is no such session among the last ones that have ended")
	}
	return &recent[at], nil
}

// shownRecording returns the recording of a session: the file, or else what the journal
// keeps. Both have the rules in force at the time of the session.
func (p *instance) shownRecording(session string) (name string, text []byte, err error) {
	e, err := p.lastEnded(session)
	if err != nil {
		return "", nil, err
	}
	if path := recordingOf(p.config.Load().Route(e.Route), e); path != "" {
		if text, err := os.ReadFile(path); err == nil {
			return record.FileName(e), text, nil
		}
	}
	if len(e.Lines) == 0 {
		return "", nil, errors.New("there is no recording of this session, or no longer")
	}
	return record.FileName(e), record.Format(e), nil
}
