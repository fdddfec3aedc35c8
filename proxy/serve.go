package proxy

import "net"

// Serve holds a session with a client whose connection is no socket, such as an
// end of [net.Pipe], and returns when it has ended; at once if nobody is served any
// more. The route need not be one of those of Apply, and its Listen says nothing.
// Limits, draining and closing are as for any other session.
func (p *Proxy) Serve(conn net.Conn, r *Route) {
	p.mu.Lock()
	p.prepare()
	if p.stopped {
		p.mu.Unlock()
		conn.Close()
		return
	}
	p.arriving.Add(1)
	p.mu.Unlock()
	run := newRunning(r, ownName())
	run.policy.Turns = p.turns
	p.open(nil, conn, run)
}
