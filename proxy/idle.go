package proxy

import (
	"errors"
	"time"

	"smtpshim/proxy/wire"
)

// errIdle means that the session waits without a Runner: see wire.Runner.Idle.
var errIdle = errors.New("idle")

// waitIdle lets the session wait without a Runner for the client, the server or the time
// limit. If it returns true, the caller must not touch the session any more.
func (s *session) waitIdle(limit time.Time) bool {
	if !s.runner.MayIdle(s.client, s.server, limit) {
		return false
	}
	s.idleUntil = limit.Sub(s.began)
	s.dialogue.Rest()
	return s.runner.Idle(s, s.client, s.server)
}

// ResumeOn continues the session, which waitIdle has left without a Runner, on r.
func (s *session) ResumeOn(r *wire.Runner) {
	s.runner = r
	s.hold(func() {
		r.Resume(s.client, s.server)
		s.resume()
	})
}

// resume runs a session that was idle.
func (s *session) resume() {
	s.now = s.proxy.clock()
	if s.server.Spoke() {
		if err := s.unasked(nil); err != nil {
			s.finish()
			return
		}
	}
	s.run()
}

// commandBy returns the deadline for the client's next line.
func (s *session) commandBy() time.Time {
	if s.idleUntil != 0 {
		return s.began.Add(s.idleUntil) // this wait has begun already
	}
	return s.by(s.patience(s.route.Timeouts.command()))
}

// parting is how long we keep the connection of a client that was told 421 by the server.
// The client can read that reply, or send another command, before we close the connection.
// Some clients report a closed connection rather than the reply that came with it (emacs
// smtpmail, aiosmtplib 2.0).
const parting = 2 * time.Second

// patience returns how long to wait for the client: the time allowed, but no longer than
// parting once the client was told that the session ends.
func (s *session) patience(allowed time.Duration) time.Duration {
	if s.dialogue.Parting() {
		return min(allowed, parting)
	}
	return allowed
}
