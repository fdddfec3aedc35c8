package main

import (
	"net/http"

	"smtpshim/metrics"
	"smtpshim/metrics/page"
	"smtpshim/proxy/journal"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// addPage has the admin listener show the page, to whom it may be shown, and ask
// for the password.
func (p *instance) addPage(admin *http.Server) {
	c := p.config.Load()
	if c.hasPage() {
		stream := page.NewStream(func(f page.Filter) (<-chan journal.Event, func()) {
			return p.journal.Watch(journal.Filter{Route: f.Route, Healed: f.Healed, Outcome: f.Outcome})
		}, p.notice)
		admin.RegisterOnShutdown(stream.Close)
		admin.Handler = page.New(page.Source{
			Version:      buildVersion(),
			Rules:        explained(),
			Ready:        p.readiness,
			Stale:        p.staleness,
			Gatherer:     p.gather,
			Routes:       p.shownRoutes,
			Servers:      p.servers,
			Certificates: func() []metrics.Certificate { return p.config.Load().certificates() },
			Sessions:     p.shownSessions,
			Events:       stream,
			Observed:     p.shownObserved,
			Evidence:     http.HandlerFunc(p.tellObserved),
			AnyHost:      c.password != nil,
		}, admin.Handler)
	}
	if c.password != nil {
		admin.Handler = c.password.Protect(admin.Handler)
	}
}

// notice is an event as those who watch get it: at the end of a session that failed,
// with the reason.
func (p *instance) notice(e journal.Event) any {
	n := e.Notice()
	if f, ok := failureOf(e.Entry); ok && e.Kind == journal.Ended {
		n.Causes = p.causesOf(f)
	}
	return n
}

// explained is what the page says of each name that a changed line can have.
func explained() map[string]page.Rule {
	all := map[string]page.Rule{
		"client_tls":       {Says: "The route's client_tls: TLS with the client begins and ends here."},
		"server_tls":       {Says: "The route's server_tls: TLS with the server begins and ends here."},
		"xclient":          {Says: "The route's xclient: who the client is, by XCLIENT."},
		"fresh-connection": {Says: "A message that was refused before its end has cost the connection to the server: the next mail begins with another."},
		"not-carried":      {Says: "What cannot be carried through safely is neither offered nor asked for."},
		"message_size":     {Says: "The route's limit message_size is what is offered."},
		"chunking":         {Says: "BDAT is hidden: the route says so, or looks into messages."},
	}
	for _, r := range heal.Table() {
		all[r.Name] = page.Rule{Says: "Heals " + r.Heals + ".", Source: r.Source}
	}
	return all
}

func (p *instance) shownRoutes() []page.Route {
	var list []page.Route
	for _, r := range p.config.Load().routes {
		list = append(list, page.Route{Name: r.Name, Listen: r.Listen, Rules: r.Rules.Names()})
	}
	return list
}

// shownProducts are products as people read them.
func shownProducts(products []rewrite.Product) []string {
	var list []string
	for _, p := range products {
		list = append(list, p.Name+", by "+signMeans[p.By])
	}
	return list
}

// shownSessions are the last ones. Whoever asks for them has the lines of those to
// come kept for a while.
func (p *instance) shownSessions() []page.Session {
	var list []page.Session
	for _, e := range p.journal.Recent() {
		s := page.Session{
			ID: e.ID, Route: e.Route, Began: e.Began, Ended: e.Ended,
			Outcome: e.End.Outcome, Server: e.End.Server, Hello: e.End.Hello, Messages: e.End.Messages, Octets: e.End.Octets,
			Rules: e.End.Rules, Would: e.End.Would.Counts(), ClientTLS: e.End.ClientTLS, ServerTLS: e.End.ServerTLS,
			Products: shownProducts(e.End.Products), ClientAuth: e.End.ClientAuth, ServerAuth: e.End.ServerAuth,
			Refused: page.Refusal(e.End.Refused), While: e.End.While, Err: e.End.Err, Lasted: e.End.Lasted,
		}
		if e.Client.IsValid() {
			s.Client = e.Client.String()
		}
		for _, l := range e.Lines {
			s.Lines = append(s.Lines, page.Line{After: l.After, Side: byte(l.Side), Mark: byte(l.Mark), Text: l.Text, Rule: l.Rule})
		}
		list = append(list, s)
	}
	return list
}
