package wire

import "sync/atomic"

// workers are goroutines that sessions run on outside a loop. Some are kept for further
// sessions: growing a new stack costs a fifth of the work of a short session.
type workers struct {
	guard func(doing string, f func())
	work  chan func()     // received by those that are kept
	done  <-chan struct{} // closed: none is kept any longer
	kept  atomic.Int32
}

// maxKept is how many workers wait for work at most.
const maxKept = 64

// do runs f on a worker.
func (w *workers) do(f func()) {
	select {
	case w.work <- f:
	default:
		go w.run(f)
	}
}

func (w *workers) run(f func()) {
	for f != nil {
		w.guard("running a session", f)
		f = w.next()
	}
}

// next waits for work. It returns nil if enough workers wait already.
func (w *workers) next() (f func()) {
	defer w.kept.Add(-1)
	if w.kept.Add(1) > maxKept {
		return nil
	}
	select {
	case f = <-w.work:
	case <-w.done:
	}
	return f
}
