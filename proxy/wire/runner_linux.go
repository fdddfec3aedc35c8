//go:build !portable

package wire

import (
	"iter"
)

// A coroutine is what a session runs on in a loop: it goes on where it was when what
// it waits for has come, without the runtime's scheduler. What would keep the loop
// from its other sessions it does on a goroutine, apart from the loop.
type Runner struct {
	loop  *loop
	work  func(*Runner)
	next  func() (wish, bool)
	stop  func()
	yield func(wish) bool
	again func() // has it go on; made once
	reads int32  // since the loop has seen to others

	spoilt bool    // its work has panicked: it is not used again
	owner  Session // the session that it runs; nil: none
}

// A wish is what a coroutine stops for.
type wish uint8

const (
	toWait   wish = iota // until whoever it has asked wakes it
	toLeave              // the loop
	toReturn             // to it
	toRest               // its work is done
)

// maxResting is how many a loop keeps for the next sessions, whose stacks have grown.
const maxResting = 64

// begin has f run on a coroutine, at once. The caller is the loop.
func (l *loop) begin(f func(*Runner)) {
	var c *Runner
	if last := len(l.resting) - 1; last >= 0 {
		c, l.resting = l.resting[last], l.resting[:last]
	} else {
		c = l.newCoroutine()
	}
	c.work = f
	c.drive()
}

func (l *loop) newCoroutine() *Runner {
	c := &Runner{loop: l}
	c.again = c.drive
	c.next, c.stop = iter.Pull(func(yield func(wish) bool) {
		c.yield = yield
		for more := true; more; more = !c.spoilt && yield(toRest) {
			c.run()
		}
	})
	return c
}

// run does its work.
func (c *Runner) run() {
	f := c.work
	c.work = nil
	if d := Contain(func() { f(c) }); d != nil {
		c.spoilt = true
		c.loop.loops.config.Defect(d, "running a session")
	}
	c.owner = nil
}

// drive resumes it until it stops. The caller is the loop.
func (c *Runner) drive() {
	l := c.loop
	c.reads = 0
	switch w, ok := c.next(); {
	case !ok: // it is spoilt, and has ended
	case w == toLeave:
		l.loops.crew.do(c.apart)
	case w == toRest && len(l.resting) < maxResting:
		l.resting = append(l.resting, c)
	case w == toRest:
		c.stop()
	}
}

// apart has it run on this goroutine, until it returns to the loop or is done.
func (c *Runner) apart() {
	if w, _ := c.next(); w == toReturn {
		c.loop.do(c.again)
		return
	}
	c.stop()
}

// maxReads is how often a coroutine may read before others have their turn: a client
// that sends faster than it is read would keep the loop for ever.
const maxReads = 16

// read counts one that is about to be made, and lets the loop see to others first if
// they have to have their turn.
func (c *Runner) BeforeRead() {
	if c == nil {
		return
	}
	if c.reads++; c.reads > maxReads {
		c.wake()
		c.yield(toWait)
	}
}

// runs notes whose work it does.
func (c *Runner) Runs(s Session) {
	if c != nil {
		c.owner = s
	}
}

// spoil has it end with the work that it does now.
func (c *Runner) Spoil() {
	if c != nil {
		c.spoilt = true
	}
}

// wake resumes it where it waits.
func (c *Runner) wake() { c.loop.do(c.again) }
