package wire

import (
	"sync/atomic"
	"time"
)

// A Watch watches the server while the session waits for something else, so that the
// wait ends at once if the server sends something unasked or hangs up. In a loop, the
// kernel reports that. Otherwise a goroutine reads from the server, and what it has
// read stays buffered in the leg.
type Watch struct {
	server  *Leg
	fired   atomic.Bool
	looped  bool // there is no goroutine
	stopped bool // by Stop, in a loop
	done    chan struct{}
	err     error   // why the read ended; valid once done
	defect  *Defect // a panic of the read, which Stop repeats; valid once done
}

// StartWatch begins to watch server. When there is something to read or the connection
// has ended, the loop or another goroutine calls wake, at most once. wake must not
// wait. Until Stop returns, the caller must not read server. Every Watch must be
// stopped.
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

// HasFired reports whether wake, the function passed to StartWatch, has been called or is
// about to be called.
func (w *Watch) HasFired() bool { return w.fired.Load() }

// Stop ends the watch. spoke reports whether the server has sent something or has hung
// up. Without a loop, the octets sent are in the leg's buffer, and err is the error of
// the read, such as io.EOF; nil if there was none. In a loop, err is always nil: the
// next Fill returns the error, if there is one.
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
