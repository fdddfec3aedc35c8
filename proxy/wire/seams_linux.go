//go:build !portable

package wire

// What follows is for tests of the packages that use this one.

// Idle returns how many sessions wait by Runner.Idle. It is for tests.
func (ls *Loops) Idle() (n int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.all {
		l.mu.Lock()
		watched := append([]watched(nil), l.watched...)
		l.mu.Unlock()
		for _, w := range watched {
			if s, ok := w.(*socket); ok && s.isIdle() {
				n++
			}
		}
	}
	return n / 2 // each has two sockets
}

// isIdle reports whether an idle session waits for the socket.
func (s *socket) isIdle() bool {
	s.mu.Lock()
	p, ok := s.directions[reading].waiter.(*idle)
	s.mu.Unlock()
	if !ok {
		return false
	}
	client, server := p.session.Legs() // before the lock: Legs locks the session, which locks the socket to close it
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.directions[reading].waiter == p && client.ioState == nil && server.ioState == nil
}

// OnDrained makes each read of a socket in a loop call f, within the read, if the read has
// left nothing in the socket. It is for tests.
func (l *Leg) OnDrained(f func()) { l.quiet = drained{l.quiet, f} }

type drained struct {
	of quiet
	f  func()
}

func (d drained) quiet() {
	d.f()
	d.of.quiet()
}

func (d drained) look(f func(fd uintptr) bool) (looked bool, err error) { return d.of.look(f) }
