package journal

import "sync"

// A Filter says what somebody wants to watch.
type Filter struct {
	Route  string // "": all
	Healed bool   // only sessions in which a rule acts, which are told of once the first has
	// Outcome chooses sessions by how they end, as vocabulary.Outcome.Named has it.
	// With it sessions are told of at their end, with all their lines.
	Outcome string
}

// live reports whether sessions are told of as they happen.
func (f Filter) live() bool { return f.Outcome == "" }

// The kinds of events.
const (
	Began = "began"
	Said  = "line"
	Ended = "ended"
	Lost  = "lost" // the reader is slow, and has missed events
)

// An Event is something that happened in a session.
type Event struct {
	Kind  string
	Entry Entry // without Lines
	Line  Line  // of Said
	Lost  int   // how many events were missed
}

// pending is how many events wait for a reader before some are lost: enough for
// the whole of a long dialogue.
const pending = 1024

type watcher struct {
	Filter
	events chan Event
	lost   int
}

// Watch gives the events that f asks for from now on. A reader who is slow loses
// some, and is told how many; nobody waits for him. Sessions that were under way
// before anybody looked have an end and no lines. stop ends it and closes the
// channel; it may be called again.
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

// tell gives an event to all who want it; j.mu is held.
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

// offer is false if the reader has too much before him already.
func (w *watcher) offer(e Event) bool {
	select {
	case w.events <- e:
		return true
	default:
		return false
	}
}
