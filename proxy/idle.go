package proxy

import (
	"errors"
	"time"

	"smtpshim/proxy/wire"
)

// errIdle says that the session waits with nothing to run on: see wire.Runner.Idle.
var errIdle = errors.New("idle")

// waitIdle lets the session wait for the client, the server or the time limit with nothing
// to run on. If it returns true, the caller must not touch the session any more.
func (s *session) waitIdle(limit time.Time) bool {
	if !s.runner.MayIdle(s.client, s.server, limit) {
		return false
	}
	s.idleUntil = limit.Sub(s.began)
	s.dialogue.Rest()
	return s.runner.Idle(s, s.client, s.server)
}

// ResumeOn continues the session after waitIdle.
func (s *session) ResumeOn(r *wire.Runner) {
	s.runner = r
	s.hold(func() {
		r.Resume(s.client, s.server)
		s.resume()
	})
}

// resume runs a session that was idle.
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
