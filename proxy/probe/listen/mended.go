package listen

import (
	"net"
	"slices"
)

// Mendable reports whether the client has met every form, and a route can heal something
// of what it gets wrong, without a login of its own.
func (c *Caller) Mendable() bool {
	return c.Sessions > 0 && c.untried() == nil && Route([]Caller{*c}, "", "") != "" &&
		!slices.ContainsFunc(c.rows, func(r row) bool { return r.setting == loginSetting })
}

// mend gives the session of a client to whom Mended says; l.mu is held.
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
