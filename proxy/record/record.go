// Package record writes the dialogues of sessions to files, as transcripts that can be
// played again, and limits the disk space that they take.
//
// A session is written to its file after its end, by a goroutine that writes all files.
// Sessions never wait for it. If the disk is too slow, or refuses a recording, the
// recording is lost, and the function given to [Start] is told.
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

// A Route says what is recorded of one route, and how much is kept.
type Route struct {
	Name    string         // the name of the route: letters, digits, dots, hyphens, underscores
	Dir     string         // the directory of the files, which must exist
	Clients []netip.Prefix // clients whose sessions are recorded; none: all

	// If OnlyHealed is true, only sessions in which a rule acted are recorded. If
	// OnlyFailed is true, only sessions that failed are. If both are true, sessions
	// that meet one of these conditions are. The session of a client that sent nothing
	// is never recorded.
	OnlyHealed, OnlyFailed bool

	Keep   int           // largest number of files; 0: no limit
	Age    time.Duration // how long a file is kept; 0: for ever
	Octets int64         // largest number of octets in all files; must be positive

	// Rules, Options and Settings are those with which the route's dialogues can be
	// played again, as in transcript.File. They are written to each recording, with the
	// client's address as the setting "client".
	Rules    []string
	Options  map[string]map[string]any
	Settings map[string]string
}

// Check returns an error if r.Dir is not a directory in which files can be created. It
// creates a file there and removes it.
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
		err = at.Err // the error has a path of its own
	}
	return &fs.PathError{Op: "writing to", Path: r.Dir, Err: err}
}

// wants reports whether sessions of a client may be recorded.
func (r *Route) wants(client netip.Addr) bool {
	return len(r.Clients) == 0 || rewrite.InNetworks(client, r.Clients)
}

// asked reports whether an ended session is to be recorded.
func (r *Route) asked(e *journal.Entry) bool {
	if e.End.Outcome == vocabulary.OutcomeSilent {
		return false
	}
	return !r.OnlyHealed && !r.OnlyFailed || r.OnlyHealed && e.Healed() || r.OnlyFailed && e.Failed()
}

// The largest number of octets of ended sessions that wait for the disk; further
// recordings are lost. Sessions that end in short order are written together, which
// delays mail less.
const (
	waiting = 32 << 20
	much    = 24 << 20 // with more than this, the writer does not rest
	moment  = 20 * time.Millisecond
)

// share limits the time spent on writing while little waits: one part in share. The rest
// is for sessions.
const share = 20

// rested is the longest rest of the writer, however slow the disk is.
const rested = time.Second

// tending is the interval at which expired files are removed.
const tending = time.Minute

// farewell is the longest time that Close waits for the disk.
const farewell = 5 * time.Second

// A Writer writes the recordings of all routes. Its methods are safe for concurrent
// use. Only Close waits for the disk.
type Writer struct {
	told    func(route string, err error)
	ended   chan struct{} // signals that queue is not empty
	changed chan struct{} // signals that bounds has changed
	closing chan struct{}
	closed  chan struct{}

	mu     sync.Mutex
	over   bool
	queue  []recording
	octets int // octets in queue
	bounds map[place]*Route
}

type recording struct {
	route *Route
	entry *journal.Entry
}

// Start returns a new Writer. The Writer calls report once for each recording, with the
// name of its route: with a nil err when the recording is written, and otherwise with
// the reason for which it is lost. report may be called concurrently, and must return
// at once, because sessions may wait for it.
func Start(report func(route string, err error)) *Writer {
	w := &Writer{told: report, ended: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		closing: make(chan struct{}), closed: make(chan struct{}), bounds: map[place]*Route{}}
	go w.run()
	return w
}

// Close closes the writer. It waits, for at most five seconds, until the recordings of
// sessions that have ended are written. Recordings of sessions that end later are lost.
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

// Tend has the writer keep the files of r within the limits of r from now on: it
// removes the oldest ones now, before each new recording, and every minute. Files of
// earlier runs count too. Call Tend again when the limits change.
func (w *Writer) Tend(r *Route) {
	w.mu.Lock()
	w.bounds[place{r.Dir, r.Name}] = r
	w.mu.Unlock()
	signal(w.changed)
}

// signal sends without blocking. One signal that has not been received is enough.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Dialogue returns a listener for one session of the route r. beginning is the
// beginning of that session. At the end of the session the listener has w write the
// recording, if OnlyHealed and OnlyFailed of r allow it. Dialogue returns nil if
// r.Clients excludes the client.
func (w *Writer) Dialogue(r *Route, beginning proxy.Beginning) proxy.DialogueListener {
	if !r.wants(beginning.Client) {
		return nil
	}
	return journal.Collect(beginning, func(e *journal.Entry) {
		if r.asked(e) {
			w.take(recording{r, e})
		}
	})
}

// errSlow means that a recording was lost because the writer had no time for it.
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

// write writes what waits. It rests in between, unless much waits or the writer is being
// closed.
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

// rest sleeps for at most this time, and wakes when the writer is closed.
func (w *Writer) rest(most time.Duration) {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.closing:
	}
}

// tend removes files beyond the limits.
func (w *Writer) tend(archives archives) {
	w.mu.Lock()
	bounds := slices.Collect(maps.Values(w.bounds))
	w.mu.Unlock()
	for _, r := range bounds {
		a := archives.of(r)
		a.bounds = r
		a.look()
		a.trim(0, time.Now()) // a file that cannot be removed is tried again; until then nothing is written
	}
}
