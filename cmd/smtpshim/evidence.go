package main

import (
	"encoding/json"
	"net/http"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/metrics/page"
	"smtpshim/proxy/evidence"
)

// observing returns the routes whose rules are observed.
func observing(c *config.Config) (names []string) {
	for _, r := range c.Routes {
		if r.Observed != nil {
			names = append(names, r.Name)
		}
	}
	return names
}

// evidenceOf returns the book with the evidence of a route; nil if its rules act.
func (p *instance) evidenceOf(r *config.Route) *evidence.Book {
	if r.Observed == nil {
		return nil
	}
	return &p.evidence
}

// shownObserved returns what observed rules would have done, for the page.
func (p *instance) shownObserved() (list []page.Observed) {
	for _, r := range p.evidence.Routes() {
		o := page.Observed{Route: r.Name, Sessions: r.Sessions, Clients: r.Clients}
		for _, rule := range r.Rules {
			o.Rules = append(o.Rules, page.ObservedRule{Name: rule.Name, Clients: rule.Clients, Named: rule.Named, Line: rule.Line})
		}
		list = append(list, o)
	}
	return list
}

// tellObserved serves the same as JSON, for "smtpshim observe".
func (p *instance) tellObserved(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(p.evidence.Routes())
}
