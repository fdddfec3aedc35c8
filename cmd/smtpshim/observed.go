package main

import (
	"log/slog"
	"sync"
	"time"

	"smtpshim/metrics"
	"smtpshim/proxy"
	"smtpshim/proxy/evidence"
	"smtpshim/proxy/journal"
	"smtpshim/proxy/record"
	"smtpshim/rewrite/transcript"
)

// An observed is told of the sessions of one route. It keeps the last ones, records some,
// and collects what observed rules would do.
type observed struct {
	journal *journal.Journal
	writer  *record.Writer
	record  *record.Route // nil: nothing is recorded
	setup   *journal.Setup

	evidence *evidence.Book // nil: the route has no observed rules
}

// Dialogue returns a listener for the dialogue of the session that begins with b. It
// returns nil if neither the journal nor a recording wants the dialogue. Dialogue is
// the field Dialogue of a proxy.Route.
func (o *observed) Dialogue(b proxy.Beginning) proxy.DialogueListener {
	kept := o.journal.Dialogue(b, o.setup)
	var recorded proxy.DialogueListener
	if o.record != nil {
		recorded = o.writer.Dialogue(o.record, b)
	}
	switch {
	case kept == nil && recorded == nil:
		return nil
	case kept == nil:
		return both{summary{o, b}, recorded}
	}
	if o.evidence != nil {
		kept = noted{kept, o, b}
	}
	if recorded == nil {
		return kept
	}
	return both{kept, recorded}
}

// Ended reports to the journal that the session b has ended as e says. If the route has
// observed rules, Ended reports it to the evidence too. Ended is the field Ended of a
// proxy.Route: the proxy calls it for sessions for which Dialogue returned nil.
func (o *observed) Ended(b proxy.Beginning, e proxy.Ending) {
	o.journal.Ended(b, e)
	if o.evidence != nil {
		o.evidence.Ended(b, e)
	}
}

// A noted listens to a dialogue, and adds its evidence at the end.
type noted struct {
	proxy.DialogueListener
	o *observed
	b proxy.Beginning
}

func (n noted) End(e proxy.Ending) {
	n.DialogueListener.End(e)
	n.o.evidence.Ended(n.b, e)
}

// A summary is told how a session ends.
type summary struct {
	o *observed
	proxy.Beginning
}

func (summary) Line(transcript.Line) {}

func (s summary) End(e proxy.Ending) { s.o.Ended(s.Beginning, e) }

// A both passes a dialogue to two listeners.
type both [2]proxy.DialogueListener

func (b both) Line(l transcript.Line) {
	for _, listener := range b {
		listener.Line(l)
	}
}

func (b both) End(e proxy.Ending) {
	for _, listener := range b {
		listener.End(e)
	}
}

// complaining is the shortest time between two log lines about lost recordings.
const complaining = time.Minute

// A losses logs lost recordings, for each route from time to time.
type losses struct {
	log    *slog.Logger
	counts *metrics.Recordings
	mu     sync.Mutex
	said   map[string]time.Time
}

// recorded is called with the result of each recording.
func (l *losses) recorded(route string, err error) {
	l.counts.Count(route, err)
	if err == nil {
		return
	}
	l.mu.Lock()
	now := time.Now()
	silent := now.Sub(l.said[route]) < complaining
	if !silent {
		l.said[route] = now
	}
	l.mu.Unlock()
	if !silent {
		l.log.Error("a recording is lost; others may be in the next minute, and are only counted", "route", route, "err", err)
	}
}
