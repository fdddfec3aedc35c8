package wire

import (
	"sync/atomic"
	"time"
)

// A watch looks at the server while something else is waited for: what it says
// unasked, or its hanging up, ends that wait at once. In a loop the kernel says so;
// else it is read in the background, and what was read stays in the server's leg.
type Watch struct {
	server  *Leg
	fired   atomic.Bool
	looped  bool // there is no goroutine
	stopped bool // of that in a loop
	done    chan struct{}
	err     error   // why the read ended; valid once done
	defect  *Defect // a panic of the read, which stop repeats; valid once done
}

// startWatch begins to look. wake is called, on another goroutine or by the loop, when
// there is something to read or the connection has ended.
func StartWatch(server *Leg, wake func()) *Watch {
	w := &Watch{server: server, done: make(chan struct{})}
	server.Prepare() // before anybody else does, at the same time
	server.deadline = time.Time{}
	server.setAlarm(time.Time{})
	if w.looped = w.inLoop(wake); !w.looped {
		go w.run(wake)
	}
	return w
}

func (w *Watch) run(wake func()) {
	defer close(w.done)
	w.defect = Contain(func() { w.err = w.server.read() })
	if w.defect != nil || !IsTimeout(w.err) {
		w.fired.Store(true)
		wake()
	}
}

// hasFired says whether wake has been called, or is about to be.
func (w *Watch) HasFired() bool { return w.fired.Load() }

// stop takes that back. It reports whether the server has said something or has gone,
// with the error if that is known.
func (w *Watch) Stop() (spoke bool, err error) {
	if w.looped {
		w.stopped = true
		w.leaveLoop()
		return w.fired.Load() && w.server.Spoke(), nil
	}
	w.server.Interrupt()
	<-w.done
	w.server.woken.Store(false)
	if w.defect != nil {
		panic(w.defect)
	}
	if IsTimeout(w.err) {
		return false, nil
	}
	return true, w.err
}
