package proxy

import "net"

// Serve runs a session of the route r with the client at the other end of conn, and
// returns when the session has ended. It is for a conn that is no socket, such as an
// end of [net.Pipe]. If the proxy listens no more, after Retire, Drain or Close, Serve
// closes conn and returns at once. r need not have been passed to Apply, and r.Listen
// and r.Health are ignored. Limits, Drain and Close apply as to any other session.
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
