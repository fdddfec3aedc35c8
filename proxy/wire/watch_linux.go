//go:build !portable

package wire

// inLoop has the loop watch the server, if the session runs in one.
func (w *Watch) inLoop(wake func()) bool {
	server := w.server.socket()
	if server == nil || server.runner == nil {
		return false
	}
	a := &alert{server.runner.loop, func() {
		if !w.stopped {
			w.fired.Store(true)
			wake()
		}
	}}
	if w.server.Spoke() || !server.await(a) { // TLS may have read it already
		a.wake()
	}
	return true
}

func (w *Watch) leaveLoop() { w.server.socket().unawait() }

// An alert is a waiter that has the loop call do soon: do must not run within wake, under
// the lock of a socket.
type alert struct {
	loop *loop
	do   func()
}

func (a *alert) wake() { a.loop.do(a.do) }
