package proxy

import (
	"sync/atomic"
	"time"
)

// A watch reads from the server in the background while something else is
// waited for: what it says unasked, or its hanging up, ends that wait at once.
// What was read stays in the server's leg.
type watch struct {
	server *leg
	fired  atomic.Bool
	done   chan struct{}
	err    error // why the read ended; valid once done
}

// startWatch begins to read. wake is called, on another goroutine, when
// something was read or the connection ended.
func startWatch(server *leg, wake func()) *watch {
	w := &watch{server: server, done: make(chan struct{})}
	server.deadline = time.Time{}
	server.setAlarm(time.Time{})
	go w.run(wake)
	return w
}

func (w *watch) run(wake func()) {
	w.err = w.server.read()
	if !isTimeout(w.err) {
		w.fired.Store(true)
		wake()
	}
	close(w.done)
}

// stop takes the read back. It reports whether the server has said something
// or, with the error, has gone.
func (w *watch) stop() (spoke bool, err error) {
	w.server.interrupt()
	<-w.done
	w.server.woken.Store(false)
	if isTimeout(w.err) {
		return false, nil
	}
	return true, w.err
}
