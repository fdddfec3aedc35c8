//go:build !portable

package wire

import (
	"iter"
	"time"
)

// A Runner runs a session in a loop. It is a coroutine: when the session waits, the
// Runner yields, and the loop resumes it there, without the runtime's scheduler. A
// session leaves the loop for a goroutine while it does work that would keep the loop's
// other sessions waiting. A nil *Runner means that the session runs on a goroutine.
type Runner struct {
	loop  *loop
	work  func(*Runner)
	next  func() (interest, bool)
	stop  func()
	yield func(interest) bool
	again func() // drive; made once
	reads int32  // since the loop last served others

	spoilt  bool    // its work has panicked: it is not used again
	session Session // that it runs; nil: none is known
}

// An interest is why a Runner yields.
type interest uint8

const (
	toWait   interest = iota // until it is woken
	toLeave                  // the loop
	toReturn                 // to the loop
	toRest                   // its work is done
)

// maxResting is how many Runners a loop keeps for further sessions. Their stacks have
// grown already.
const maxResting = 64

// begin runs f on a Runner, at once. Only the loop calls it.
func (l *loop) begin(f func(*Runner)) {
	var r *Runner
	if last := len(l.resting) - 1; last >= 0 {
		r, l.resting = l.resting[last], l.resting[:last]
	} else {
		r = l.newRunner()
	}
	r.work = f
	r.drive()
}

func (l *loop) newRunner() *Runner {
	r := &Runner{loop: l}
	r.again = r.drive
	r.next, r.stop = iter.Pull(func(yield func(interest) bool) {
		r.yield = yield
		for more := true; more; more = !r.spoilt && yield(toRest) {
			r.run()
		}
	})
	return r
}

// run does the work that begin was given.
func (r *Runner) run() {
	f := r.work
	r.work = nil
	if d := Contain(func() { f(r) }); d != nil {
		r.spoilt = true
		r.loop.loops.config.Defect(d, "running a session")
	}
	r.session = nil
}

// drive resumes r until it yields. Only the loop calls it.
func (r *Runner) drive() {
	l := r.loop
	r.reads = 0
	switch why, ok := r.next(); {
	case !ok: // it is spoilt, and has ended
	case why == toLeave:
		l.loops.workers.do(r.runOffLoop)
	case why == toRest && len(l.resting) < maxResting:
		l.resting = append(l.resting, r)
	case why == toRest:
		r.stop()
	}
}

// runOffLoop runs r on this goroutine, until it returns to the loop or its work is done.
func (r *Runner) runOffLoop() {
	if why, _ := r.next(); why == toReturn {
		r.loop.do(r.again)
		return
	}
	r.stop()
}

// maxReads is how often a Runner may read before others have their turn. A client that
// sends faster than it is read would otherwise keep the loop for ever.
const maxReads = 16

// BeforeRead must be called before each read of a leg by the session. After 16 reads
// (maxReads) without a wait, BeforeRead lets the loop serve other sessions before it
// returns.
func (r *Runner) BeforeRead() {
	if r == nil {
		return
	}
	if r.reads++; r.reads > maxReads {
		r.wake()
		r.yield(toWait)
	}
}

// Woke returns the time at which the loop of r last ended its wait for its sockets. The
// session that r runs was resumed after that. ok is false if r is nil, because the
// session runs in no loop. Only the session may call Woke.
func (r *Runner) Woke() (at time.Time, ok bool) {
	if r == nil {
		return time.Time{}, false
	}
	return r.loop.woke, true
}

// Runs records that r runs the session s. If the loop panics while it serves a leg of
// s, it ends s by Session.Lose.
func (r *Runner) Runs(s Session) {
	if r != nil {
		r.session = s
	}
}

// Spoil records that the session that r runs has panicked. r is then not used for
// another session, but ends with this one.
func (r *Runner) Spoil() {
	if r != nil {
		r.spoilt = true
	}
}

// wake has the loop resume r soon.
func (r *Runner) wake() { r.loop.do(r.again) }
