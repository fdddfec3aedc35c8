package proxy

import (
	"errors"
	"time"

	"smtpshim/proxy/wire"
)

// errParked says that a session waits without anything to run on.
var errParked = errors.New("parked")

// park has the session wait for the client, the server or the end of its time with
// nothing to run on. It is false if that cannot be done; else the session is somebody
// else's from here on.
func (s *session) park(limit time.Time) bool {
	if !s.runner.MayIdle(s.client, s.server, limit) {
		return false
	}
	s.idleUntil = limit.Sub(s.began)
	s.dialogue.Rest()
	return s.runner.Idle(s, s.client, s.server)
}

// resumeOn has the session go on after park, in the loop that c is of.
func (s *session) ResumeOn(c *wire.Runner) {
	s.runner = c
	s.hold(func() {
		c.Resume(s.client, s.server)
		s.resume()
	})
}

// resume runs a session that was parked.
func (s *session) resume() {
	s.now = time.Now()
	if s.server.Spoke() {
		if err := s.unasked(nil); err != nil {
			s.finish()
			return
		}
	}
	s.run()
}

// commandBy is until when the client's next line has to be there.
func (s *session) commandBy() time.Time {
	if s.idleUntil != 0 {
		return s.began.Add(s.idleUntil) // it has been waited for already
	}
	return s.by(s.patience(s.route.Timeouts.command()))
}

// parting is how long a client that was told 421 by the server has to read that and
// to go on, before its connection is closed. Some clients report a closed connection
// rather than the reply that came with it (emacs smtpmail, aiosmtplib 2.0).
const parting = 2 * time.Second

// patience is how long the client is waited for where it may take so long.
func (s *session) patience(allowed time.Duration) time.Duration {
	if s.dialogue.Parting() {
		return min(allowed, parting)
	}
	return allowed
}
