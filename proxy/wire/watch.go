package wire

import (
	"sync/atomic"
	"time"
)

// A Watch watches the server's leg while the session waits for something else, so that
// what the server says unasked, or its hanging up, ends that wait at once. In a loop the
// kernel reports it. Otherwise a goroutine reads, and what it reads stays in the leg.
type Watch struct {
	server  *Leg
	fired   atomic.Bool
	looped  bool // there is no goroutine
	stopped bool // by Stop, in a loop
	done    chan struct{}
	err     error   // why the read ended; valid once done
	defect  *Defect // a panic of the read, which Stop repeats; valid once done
}

// StartWatch begins to watch. wake is called once, by another goroutine or by the loop, when
// there is something to read or the connection has ended. It must not wait. Nobody else may
// read the leg until Stop.
func StartWatch(server *Leg, wake func()) *Watch {
	w := &Watch{server: server, done: make(chan struct{})}
	server.Prepare() // before the goroutine does, at the same time as somebody else
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

// HasFired reports whether wake has been called, or is about to be.
func (w *Watch) HasFired() bool { return w.fired.Load() }

// Stop ends the watch. It reports whether the server has said something or has hung up,
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
