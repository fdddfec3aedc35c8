package proxy

import (
	"errors"
	"time"
)

// errParked says that a session waits without anything to run on.
var errParked = errors.New("parked")

// resume runs a session that was parked.
func (s *session) resume() {
	s.now = time.Now()
	if s.server.spoke() {
		if err := s.unasked(nil); err != nil {
			s.finish()
			return
		}
	}
	s.run()
}

// commandBy is until when the client's next line has to be there.
func (s *session) commandBy() time.Time {
	if !s.idleUntil.IsZero() {
		return s.idleUntil // it has been waited for already
	}
	return s.by(s.route.Timeouts.command())
}
