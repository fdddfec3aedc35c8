package proxy

import (
	"errors"
	"time"
)

// errParked says that a session waits without a goroutine.
var errParked = errors.New("parked")

// descriptor is that of the leg's TCP connection.
func (l *leg) descriptor() (fd int32, ok bool) {
	raw := l.raw
	if l.wire != nil {
		raw = l.wire.raw
	}
	if raw == nil {
		return 0, false
	}
	err := raw.Control(func(d uintptr) { fd = int32(d) })
	return fd, err == nil
}

// park has the session wait without its goroutine until the client or the
// server does something.
func (s *session) park(limit time.Time) bool {
	client, ok := s.client.descriptor()
	server, ok2 := s.server.descriptor()
	if !ok || !ok2 || len(s.client.buffered()) > 0 {
		return false
	}
	s.idleUntil = limit
	s.dialogue.ToServer, s.dialogue.ToClient = nil, nil
	lot := s.proxy.idleLot()
	return lot != nil && lot.park(s, [2]int32{client, server}, limit)
}

// commandBy is until when the client's next line has to be there.
func (s *session) commandBy() time.Time {
	if !s.idleUntil.IsZero() {
		return s.idleUntil // it has been waited for already
	}
	return s.by(s.route.Timeouts.command())
}
