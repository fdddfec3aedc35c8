package listen

import (
	"net"
	"slices"
)

// Mendable reports whether the client has met every form of server that it is to meet,
// and a route can heal some of its faults. It returns false if that route would have to
// log in at its server.
func (c *Caller) Mendable() bool {
	return c.Sessions > 0 && c.untried() == nil && Route([]Caller{*c}, "", "") != "" &&
		!slices.ContainsFunc(c.rows, func(r row) bool { return r.setting == loginSetting })
}

// mend passes a session to Mended. It returns false if the listener must handle it. l.mu
// must be held.
func (l *Listener) mend(conn net.Conn, c *Caller) bool {
	if l.Mended == nil || !c.Mendable() {
		return false
	}
	take := l.Mended(c.copy())
	if take == nil {
		return false
	}
	l.all.Go(func() {
		take(conn)
		conn.Close()
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.sessions, conn)
	})
	return true
}
