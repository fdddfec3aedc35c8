//go:build !portable

package wire

// What follows is for tests of what uses legs and loops.

// idle is how many sessions are parked, and have nothing to read and write with.
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

// isIdle says whether a parked session waits for the socket.
func (s *socket) isIdle() bool {
	s.mu.Lock()
	p, ok := s.ways[reading].waiter.(*parked)
	s.mu.Unlock()
	if !ok {
		return false
	}
	client, server := p.owner.Legs() // which locks the session: see kill
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ways[reading].waiter == p && client.hands == nil && server.hands == nil
}

// onDrained has f called within each read of a socket in a loop that has left nothing.
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
