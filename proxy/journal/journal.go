// Package journal keeps the last sessions in memory, with their dialogues while
// somebody looks, and tells those who watch of lines as they pass.
//
// It hears sessions as the proxy tells of them, and so has neither credentials,
// SASL lines nor the text of messages. What a peer may say besides is in it as it
// was said: whoever shows a Text, a Hello or an Err quotes it. A Notice, which is
// an Event for other programs, has that done.
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

// An Entry is one session.
type Entry struct {
	ID, Route string
	Setup     *Setup     // nil: it is not known
	Client    netip.Addr // invalid if it is not known
	Began     time.Time
	Lines     []Line // none if nobody looked when the session began; not to be changed
	Ended     bool
	End       proxy.Ending // once it has ended
	Omitted   int          // lines that were left out of the middle of Lines, where an event says so
}

// A Setup is what it takes to play a session again: what its route had in force when it
// began; see transcript.File. It is not to be changed.
type Setup struct {
	Rules    []string
	Options  map[string]map[string]any
	Settings map[string]string // without the client's address
}

// Healed says that a rule has changed something, as far as is known. What the
// configuration alone changes, such as client_tls, heals nothing.
func (e Entry) Healed() bool {
	return len(e.End.Rules) > 0 || slices.ContainsFunc(e.Lines, func(l Line) bool { return heals(l.Rule) })
}

// heals says that a rule is among names with commas between them.
func heals(names string) bool {
	for name := range strings.SplitSeq(names, ",") {
		if rules[name] || strings.HasPrefix(name, heal.ReplacePrefix) {
			return true
		}
	}
	return false
}

// rules are those of the table. A line may also be changed on the account of the
// configuration.
var rules = func() map[string]bool {
	names := map[string]bool{}
	for _, r := range heal.Table() {
		names[r.Name] = true
	}
	return names
}()

// Failed says that the session has ended, and not well.
func (e Entry) Failed() bool {
	return e.Ended && e.End.Outcome.Failed()
}

// A Line is one of a dialogue.
type Line struct {
	After time.Duration // since the session began
	transcript.Line
}

// looking is how long after somebody has looked dialogues are still kept.
const looking = 5 * time.Minute

// A Journal holds the last sessions. Its methods are safe for concurrent use, and
// none waits.
type Journal struct {
	sessions, octets int

	watched atomic.Int32 // how many watch
	looked  atomic.Int64 // when somebody called Recent, in nanoseconds since 1970

	mu       sync.Mutex
	running  map[*session]struct{}
	ended    []Entry // the oldest first
	held     int     // octets of them
	watchers map[*watcher]struct{}
}

// New returns a journal that keeps at most so many sessions that have ended, and
// at most so many octets of them, about. Sessions under way come on top, each with
// at most 32 KiB.
func New(sessions, octets int) *Journal {
	return &Journal{sessions: sessions, octets: octets, running: map[*session]struct{}{}, watchers: map[*watcher]struct{}{}}
}

// Dialogue returns who hears a session that begins, or nil if nobody watches, nor
// has called Recent within five minutes: lines cost nothing then. setup may be nil.
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

// Ended takes the end of a session whose Dialogue was nil.
func (j *Journal) Ended(b proxy.Beginning, e proxy.Ending) {
	d := begin(b)
	d.end(e)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.end(d.entry)
}

// Recent returns the sessions that the journal has, the last to begin first; those
// under way only if they began while somebody looked. Clients that hung up without
// a word, as health checks do, are not among those that have ended: they would
// leave no room for the others. Whoever calls it looks, so that for five minutes
// dialogues are kept.
func (j *Journal) Recent() []Entry {
	j.looked.Store(time.Now().UnixNano())
	j.mu.Lock()
	defer j.mu.Unlock()
	list := slices.Clone(j.ended)
	for s := range j.running {
		list = append(list, s.now())
	}
	slices.SortStableFunc(list, func(a, b Entry) int { return b.Began.Compare(a.Began) })
	return list
}

// end takes a session that has ended, and tells those who watch; j.mu is held.
func (j *Journal) end(e Entry) {
	if e.End.Outcome != vocabulary.OutcomeSilent {
		j.ended = append(j.ended, e)
		j.held += e.Size()
	}
	for len(j.ended) > 0 && (len(j.ended) > j.sessions || j.held > j.octets) {
		j.held -= j.ended[0].Size()
		j.ended[0] = Entry{}
		j.ended = j.ended[1:]
	}
	healed, lines := e.Healed(), e.Lines
	e.Lines = nil
	wanted := func(f Filter) bool { return e.End.Outcome.Named(f.Outcome) && (!f.Healed || healed) }
	j.tellWhole(e, lines, func(f Filter) bool { return !f.live() && wanted(f) })
	j.tell(Event{Kind: Ended, Entry: e}, wanted)
}

// tellWhole tells those of a session who have heard nothing of it; j.mu is held.
func (j *Journal) tellWhole(e Entry, lines []Line, wanted func(Filter) bool) {
	j.tell(Event{Kind: Began, Entry: e}, wanted)
	for _, line := range lines {
		j.tell(Event{Kind: Said, Entry: e, Line: line}, wanted)
	}
}

// Size is about what the entry takes in memory, in octets.
func (e Entry) Size() int {
	n := 512 + len(e.End.Hello) + len(e.End.Err) + len(e.End.Refused.Text)
	for _, l := range e.Lines {
		n += l.size()
	}
	return n
}

// A session is one that is heard.
type session struct {
	journal *Journal
	mu      sync.Mutex
	dialogue
	healed bool
}

// keep adds a line. It returns the session without its lines, the line, and whether a
// rule has acted by now; if it is the first that does, those who watch what is healed
// have heard nothing yet, and before has all lines until now.
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

// Line keeps a line, and tells those who watch.
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

// End moves the session to those that have ended.
func (s *session) End(e proxy.Ending) {
	whole := s.finish(e)
	j := s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.running, s)
	j.end(whole)
}

// finish notes how the session has ended, and returns it.
func (s *session) finish(e proxy.Ending) Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(e)
	return s.whole()
}

// now is the session as it is now.
func (s *session) now() Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole()
}
