package journal

import "sync"

// A Filter selects the sessions to watch: those that match all its fields. The zero
// Filter selects all sessions.
type Filter struct {
	Route string // the name of a route; "": all routes
	// If Healed is true, only sessions in which a rule acts are selected. Nothing
	// of a session is reported until a rule changes a line; then all lines so far
	// are reported. If rules act without changing a line, as in a message, only the
	// end is reported.
	Healed bool
	// Outcome is the outcome of the sessions, such as "refused", or "failed" for
	// all failed ones; "": all sessions. If Outcome is not "", a session is only
	// reported at its end, with all its lines.
	Outcome string
}

// live reports whether sessions are reported while they run.
func (f Filter) live() bool { return f.Outcome == "" }

// The kinds of events.
const (
	Began = "began"
	Said  = "line"
	Ended = "ended"
	Lost  = "lost" // the watcher was too slow and has missed events
)

// An Event is what a watcher is told of a session: that it began, a line, or that it
// ended. An Event of the kind Lost says how many others the watcher has missed.
type Event struct {
	Kind  string
	Entry Entry // without Lines; unset if Kind is Lost
	Line  Line  // the line; set if Kind is Said
	Lost  int   // number of missed events; set if Kind is Lost
}

// pending is the number of events that may wait for a reader before some are dropped. It
// is enough for a long dialogue.
const pending = 1024

type watcher struct {
	Filter
	events chan Event
	lost   int
}

// Watch returns a channel with the events of the sessions that f selects, from now on.
// Sessions do not wait for a watcher: while 1,024 events are unread, further ones are
// lost, and an event of the kind Lost with their number comes before the next one. A
// session for which Dialogue returned nil is only reported at its end, without lines.
// stop ends the watch and closes events. It may be called several times.
func (j *Journal) Watch(f Filter) (events <-chan Event, stop func()) {
	w := &watcher{Filter: f, events: make(chan Event, pending)}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.watchers[w] = struct{}{}
	j.watched.Add(1)
	return w.events, sync.OnceFunc(func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.watchers, w)
		j.watched.Add(-1)
		close(w.events)
	})
}

// tell sends an event to all watchers that want it. j.mu must be held.
func (j *Journal) tell(e Event, wanted func(Filter) bool) {
	for w := range j.watchers {
		if (w.Route == "" || w.Route == e.Entry.Route) && wanted(w.Filter) {
			w.tell(e)
		}
	}
}

func (w *watcher) tell(e Event) {
	if w.lost > 0 && !w.offer(Event{Kind: Lost, Lost: w.lost}) {
		w.lost++
		return
	}
	w.lost = 0
	if !w.offer(e) {
		w.lost++
	}
}

// offer returns false if too many events wait for the reader.
func (w *watcher) offer(e Event) bool {
	select {
	case w.events <- e:
		return true
	default:
		return false
	}
}
