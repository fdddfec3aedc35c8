package wire

import "sync/atomic"

// A crew is goroutines that sessions run on. Some are kept for the next session:
// their stacks have grown, and to grow one again costs a fifth of the work of a
// short session.
type crew struct {
	guard func(doing string, f func())
	work  chan func()     // for those that are kept
	done  <-chan struct{} // none is kept any longer
	kept  atomic.Int32
}

// maxKept is how many wait for work at most.
const maxKept = 64

// do has f run on a goroutine of the crew's.
func (c *crew) do(f func()) {
	select {
	case c.work <- f:
	default:
		go c.run(f)
	}
}

func (c *crew) run(f func()) {
	for f != nil {
		c.guard("running a session", f)
		f = c.next()
	}
}

// next waits for work; nil if there is enough of a crew.
func (c *crew) next() (f func()) {
	defer c.kept.Add(-1)
	if c.kept.Add(1) > maxKept {
		return nil
	}
	select {
	case f = <-c.work:
	case <-c.done:
	}
	return f
}
