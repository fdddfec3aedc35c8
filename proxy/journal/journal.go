// Package journal keeps the last sessions in memory, and reports sessions to watchers
// while they run. It keeps the dialogue of a session only if somebody was watching when
// the session began: there was a watch of [Journal.Watch], or [Journal.Recent] was
// called in the five minutes before.
//
// The proxy reports sessions without credentials, SASL lines and the text of messages.
// Other text of a peer is kept unchanged: callers that show the fields Text, Hello or
// Err, or the Line of a proxy.Departures, must quote them. A [Notice], the JSON form of
// an [Event], has the first three quoted already, and does not have the fourth.
package journal

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"smtpshim/proxy"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/transcript"
	"smtpshim/rewrite/vocabulary"
)

// An Entry describes one session, as it was when the Entry was made.
type Entry struct {
	ID, Route string
	Setup     *Setup     // as given to Dialogue; nil: none was, or nobody was watching
	Client    netip.Addr // invalid if the client's address is not known
	Began     time.Time
	// Lines are the lines so far. They must not be changed. There are none in an
	// Event, nor if nobody was watching when the session began.
	Lines []Line
	Ended bool
	End   proxy.Ending // set if Ended is true
	// Omitted is the number of lines that were left out of the middle of a long
	// dialogue. In Lines, one line takes their place, an event that says so.
	Omitted int
}

// A Setup is what is needed to play a session again: the configuration of its route
// when the session began. The fields are those of transcript.File. A Setup must not be
// changed.
type Setup struct {
	Rules    []string
	Options  map[string]map[string]any
	Settings map[string]string // without "client", the client's address
}

// Healed reports whether a rule has changed something in the session. Changes by the
// configuration, such as client_tls, do not count. Until the session has ended, Healed
// only knows of changes in e.Lines, and returns false if e has no Lines.
func (e Entry) Healed() bool {
	for name := range e.End.Rules {
		if !vocabulary.IsSafeguard(name) {
			return true
		}
	}
	return slices.ContainsFunc(e.Lines, func(l Line) bool { return heals(l.Rule) })
}

// heals reports whether a rule is among names separated by commas.
func heals(names string) bool {
	for name := range strings.SplitSeq(names, ",") {
		if rules[name] || strings.HasPrefix(name, heal.ReplacePrefix) {
			return true
		}
	}
	return false
}

// rules are the rules of the table. A line may also be changed because of the
// configuration.
var rules = func() map[string]bool {
	names := map[string]bool{}
	for _, r := range heal.Table() {
		names[r.Name] = true
	}
	return names
}()

// Failed reports whether the session has ended and its outcome is a failure.
func (e Entry) Failed() bool {
	return e.Ended && e.End.Outcome.Failed()
}

// A Line is a line of a dialogue, and when it was said.
type Line struct {
	After time.Duration // time since the session began
	transcript.Line
}

// looking is how long dialogues are kept after the last call of Recent.
const looking = 5 * time.Minute

// A Journal holds the last sessions, and reports sessions to watchers. New makes one.
// Its methods are safe for concurrent use, and do not wait for a watcher or a client.
type Journal struct {
	watched atomic.Int32 // number of watchers
	looked  atomic.Int64 // time of the last call of Recent, in nanoseconds since 1970

	mu       sync.Mutex
	running  map[*session]struct{}
	ended    ring
	watchers map[*watcher]struct{}
}

// New returns a journal that keeps the last ended sessions: at most maxSessions of them,
// in about maxOctets octets of memory. maxSessions must be at least 1. In addition, the
// journal keeps each running session that has a listener of Dialogue, with about 32 KiB of
// its lines at most.
func New(maxSessions, maxOctets int) *Journal {
	return &Journal{ended: ring{entries: make([]Entry, maxSessions), most: maxOctets}, running: map[*session]struct{}{}, watchers: map[*watcher]struct{}{}}
}

// Dialogue returns a listener that records the session that begins with b, and reports
// it to watchers. setup becomes the Setup of the session's Entry; it may be nil. If
// there is no watcher, and Recent was not called in the five minutes before the session
// began, Dialogue returns nil. The lines of the session then cost nothing, and the
// caller must report its end by Ended.
func (j *Journal) Dialogue(b proxy.Beginning, setup *Setup) proxy.DialogueListener {
	if j.watched.Load() == 0 && b.At.Sub(time.Unix(0, j.looked.Load())) > looking {
		return nil
	}
	s := &session{journal: j, dialogue: begin(b)}
	s.entry.Setup = setup
	j.mu.Lock()
	defer j.mu.Unlock()
	j.running[s] = struct{}{}
	j.tell(Event{Kind: Began, Entry: s.entry}, func(f Filter) bool { return f.live() && !f.Healed })
	return s
}

// Ended records a session that began with b and has ended with e, and reports its end
// to watchers. It is for sessions for which Dialogue returned nil. Their Entry has no
// Lines and no Setup.
func (j *Journal) Ended(b proxy.Beginning, e proxy.Ending) {
	entry := newEntry(b)
	entry.end(e)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.end(&entry)
}

// Recent returns the sessions of the journal, newest first. It includes running sessions
// for which Dialogue returned a listener. It does not include ended sessions of clients
// that hung up without a word, as health checks do, because they would displace the
// others. For five minutes after the call, Dialogue returns a listener for each
// session.
func (j *Journal) Recent() []Entry {
	j.looked.Store(time.Now().UnixNano())
	j.mu.Lock()
	defer j.mu.Unlock()
	list := j.ended.all()
	for s := range j.running {
		list = append(list, s.now())
	}
	slices.SortStableFunc(list, func(a, b Entry) int { return b.Began.Compare(a.Began) })
	return list
}

// end records an ended session and tells the watchers. j.mu must be held.
func (j *Journal) end(entry *Entry) {
	if entry.End.Outcome != vocabulary.OutcomeSilent {
		j.ended.add(entry)
	}
	if len(j.watchers) == 0 {
		return
	}
	e, healed, lines := *entry, entry.Healed(), entry.Lines
	e.Lines = nil
	wanted := func(f Filter) bool { return e.End.Outcome.Named(f.Outcome) && (!f.Healed || healed) }
	j.tellWhole(e, lines, func(f Filter) bool { return !f.live() && wanted(f) })
	j.tell(Event{Kind: Ended, Entry: e}, wanted)
}

// tellWhole tells the beginning and all lines of a session to watchers that were not told
// of it. j.mu must be held.
func (j *Journal) tellWhole(e Entry, lines []Line, wanted func(Filter) bool) {
	j.tell(Event{Kind: Began, Entry: e}, wanted)
	for _, line := range lines {
		j.tell(Event{Kind: Said, Entry: e, Line: line}, wanted)
	}
}

// Size returns about how many octets of memory e takes, with its Lines.
func (e *Entry) Size() int {
	n := 512 + len(e.End.Hello) + len(e.End.Err) + len(e.End.Refused.Text)
	for _, l := range e.Lines {
		n += l.size()
	}
	return n
}

// A session is a running session.
type session struct {
	journal *Journal
	mu      sync.Mutex
	dialogue
	healed bool
}

// keep adds a line. It returns the session without its lines, the line, and whether a
// rule has acted so far. first reports that this line is the first that a rule has
// changed. Watchers of healed sessions then have been told nothing yet, and before has
// all lines so far.
func (s *session) keep(l transcript.Line) (e Entry, line Line, healed, first bool, before []Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line = s.add(l)
	if first = !s.healed && heals(l.Rule); first {
		s.healed = true
		before = s.whole().Lines
	}
	return s.entry, line, s.healed, first, before
}

// Line records a line and tells the watchers.
func (s *session) Line(l transcript.Line) {
	e, line, healed, first, before := s.keep(l)
	j := s.journal
	if j.watched.Load() == 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tell(Event{Kind: Said, Entry: e, Line: line}, func(f Filter) bool { return f.live() && (!f.Healed || healed && !first) })
	if first {
		j.tellWhole(e, before, func(f Filter) bool { return f.live() && f.Healed })
	}
}

// End records the end of the session.
func (s *session) End(e proxy.Ending) {
	whole := s.finish(e)
	j := s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.running, s)
	j.end(&whole)
}

// finish sets the ending and returns the session.
func (s *session) finish(e proxy.Ending) Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entry.end(e)
	return s.whole()
}

// now returns the session in its present state.
func (s *session) now() Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole()
}
