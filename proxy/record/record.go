// Package record writes the dialogues of sessions into files, as transcripts that
// can be played again, and bounds how much of the disk they take.
//
// One goroutine writes, after a session's end and never in the way of mail: what
// the disk cannot take in time, or at all, is lost and counted.
package record

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/journal"
	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// A Route says what is recorded of one route, and how much of it is kept.
type Route struct {
	Name    string         // of the route: letters, digits, dots, hyphens, underscores
	Dir     string         // where the files are
	Clients []netip.Prefix // whose sessions; none: everybody's

	// OnlyHealed and OnlyFailed leave out sessions in which no rule acted, and those
	// that ended well. With both, one of the two is enough. A client that said nothing
	// is never recorded.
	OnlyHealed, OnlyFailed bool

	Keep   int           // files; 0: any number
	Age    time.Duration // how long a file is kept; 0: any time
	Octets int64         // in all files of the route

	// What a recording takes to be played; see transcript.File. Settings get the
	// client's address for each session.
	Rules    []string
	Options  map[string]map[string]any
	Settings map[string]string
}

// Check says why files cannot be made in the directory.
func (r *Route) Check() error {
	info, err := os.Stat(r.Dir)
	if err == nil && !info.IsDir() {
		return fmt.Errorf("%q is no directory", r.Dir)
	}
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(r.Dir, ".smtpshim-*"); err == nil {
			return errors.Join(f.Close(), os.Remove(f.Name()))
		}
	}
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		err = at.Err // it says a path of its own
	}
	return &fs.PathError{Op: "writing to", Path: r.Dir, Err: err}
}

// wants says that the dialogues of a client are recorded.
func (r *Route) wants(client netip.Addr) bool {
	return len(r.Clients) == 0 || rewrite.InNetworks(client, r.Clients)
}

// asked says that a session that has ended is to be written.
func (r *Route) asked(e *journal.Entry) bool {
	if e.End.Outcome == vocabulary.OutcomeSilent {
		return false
	}
	return !r.OnlyHealed && !r.OnlyFailed || r.OnlyHealed && e.Healed() || r.OnlyFailed && e.Failed()
}

// What waits for the disk before more is lost: octets, about, of sessions that have
// ended. Those of a short moment are written together, which costs mail less.
const (
	waiting = 32 << 20
	much    = 24 << 20 // from here on it is written without a rest
	moment  = 20 * time.Millisecond
)

// share says how much of the time is spent on writing while little waits, one part
// in so many: sessions have the rest.
const share = 20

// rested is how long the writer rests at most, however slow the disk was.
const rested = time.Second

// tending is how often files that are too old are looked for.
const tending = time.Minute

// farewell is how long Close waits for the disk.
const farewell = 5 * time.Second

// A Writer writes the recordings of all routes. Its methods are safe for
// concurrent use, and none but Close waits for the disk.
type Writer struct {
	told    func(route string, err error)
	ended   chan struct{} // queue has something
	changed chan struct{} // bounds has
	closing chan struct{}
	closed  chan struct{}

	mu     sync.Mutex
	over   bool
	queue  []recording
	octets int // of the queue
	bounds map[place]*Route
}

type recording struct {
	route *Route
	entry *journal.Entry
}

// Start returns a writer. After each recording told is called with its route and
// nil, or with why it was lost; from many goroutines at once, on the path of the
// mail.
func Start(told func(route string, err error)) *Writer {
	w := &Writer{told: told, ended: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		closing: make(chan struct{}), closed: make(chan struct{}), bounds: map[place]*Route{}}
	go w.run()
	return w
}

// Close writes what waits, for at most five seconds, and ends the writer; what
// comes later is lost.
func (w *Writer) Close() {
	w.mu.Lock()
	if !w.over {
		w.over = true
		close(w.closing)
	}
	w.mu.Unlock()
	late := time.NewTimer(farewell)
	defer late.Stop()
	select {
	case <-w.closed:
	case <-late.C:
	}
}

// Tend has the writer bound a route's files from now on, those of earlier runs
// too. It is called again when the bounds change.
func (w *Writer) Tend(r *Route) {
	w.mu.Lock()
	w.bounds[place{r.Dir, r.Name}] = r
	w.mu.Unlock()
	signal(w.changed)
}

// signal sends without waiting; one that is not yet received is enough.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Dialogue returns who hears a session of the route that begins, or nil if it is
// not recorded.
func (w *Writer) Dialogue(r *Route, b proxy.Beginning) proxy.DialogueListener {
	if !r.wants(b.Client) {
		return nil
	}
	return journal.Collect(b, func(e *journal.Entry) {
		if r.asked(e) {
			w.take(recording{r, e})
		}
	})
}

// errSlow is why a recording is lost that nobody had time to write.
var errSlow = errors.New("the disk is slower than the sessions")

func (w *Writer) take(r recording) {
	n := r.entry.Size()
	w.mu.Lock()
	fits := !w.over && w.octets+n <= waiting
	if fits {
		w.queue = append(w.queue, r)
		w.octets += n
	}
	first := len(w.queue) == 1
	w.mu.Unlock()
	if !fits {
		w.told(r.route.Name, errSlow)
	} else if first {
		signal(w.ended)
	}
}

// run writes until the writer is closed.
func (w *Writer) run() {
	defer close(w.closed)
	archives := archives{}
	tick, wait := time.NewTicker(tending), time.NewTimer(0)
	defer tick.Stop()
	defer wait.Stop()
	for {
		select {
		case <-w.ended:
			wait.Reset(moment)
		case <-wait.C:
			w.write(archives)
		case <-w.changed:
			w.tend(archives)
		case <-tick.C:
			w.tend(archives)
		case <-w.closing:
			w.write(archives)
			return
		}
	}
}

// write writes what waits, without haste unless it is much or the end.
func (w *Writer) write(archives archives) {
	w.mu.Lock()
	queue := w.queue
	w.queue = nil
	w.mu.Unlock()
	began := time.Now()
	for _, r := range queue {
		w.told(r.route.Name, archives.of(r.route).write(r))
		w.mu.Lock()
		w.octets -= r.entry.Size()
		little := w.octets < much
		w.mu.Unlock()
		if spent := time.Since(began); little && spent > moment/share {
			w.rest(min((share-1)*spent, rested))
			began = time.Now()
		}
	}
}

// rest lasts at most as long as it is told to, and not beyond the end.
func (w *Writer) rest(most time.Duration) {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.closing:
	}
}

// tend removes what is beyond the bounds.
func (w *Writer) tend(archives archives) {
	w.mu.Lock()
	bounds := slices.Collect(maps.Values(w.bounds))
	w.mu.Unlock()
	for _, r := range bounds {
		a := archives.of(r)
		a.bounds = r
		a.look()
		a.trim(0, time.Now()) // what cannot be removed now is tried again, and nothing is written until it could
	}
}
