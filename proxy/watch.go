package proxy

import (
	"sync/atomic"
	"time"
)

// A watch looks at the server while something else is waited for: what it says
// unasked, or its hanging up, ends that wait at once. In a loop the kernel says so;
// else it is read in the background, and what was read stays in the server's leg.
type watch struct {
	server  *leg
	fired   atomic.Bool
	looped  bool // there is no goroutine
	stopped bool // of that in a loop
	done    chan struct{}
	err     error   // why the read ended; valid once done
	defect  *defect // a panic of the read, which stop repeats; valid once done
}

// startWatch begins to look. wake is called, on another goroutine or by the loop, when
// there is something to read or the connection has ended.
func startWatch(server *leg, wake func()) *watch {
	w := &watch{server: server, done: make(chan struct{})}
	server.take() // before anybody else does, at the same time
	server.deadline = time.Time{}
	server.setAlarm(time.Time{})
	if w.looped = w.inLoop(wake); !w.looped {
		go w.run(wake)
	}
	return w
}

func (w *watch) run(wake func()) {
	defer close(w.done)
	w.defect = contain(func() { w.err = w.server.read() })
	if w.defect != nil || !timedOut(w.err) {
		w.fired.Store(true)
		wake()
	}
}

// stop takes that back. It reports whether the server has said something or has gone,
// with the error if that is known.
func (w *watch) stop() (spoke bool, err error) {
	if w.looped {
		w.stopped = true
		w.leaveLoop()
		return w.fired.Load() && w.server.spoke(), nil
	}
	w.server.interrupt()
	<-w.done
	w.server.woken.Store(false)
	if w.defect != nil {
		panic(w.defect)
	}
	if timedOut(w.err) {
		return false, nil
	}
	return true, w.err
}
