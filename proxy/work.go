package proxy

import (
	"context"
	"time"
)

// workWithin bounds the time that a login may take before the server is asked. Clients such as
// scanners give up after they have waited 20 to 30 seconds for a reply.
const workWithin = 20 * time.Second

// work does what a login needs and what may take long: it gets a token, waits for a place
// among the sessions of an account, or checks a password. It does so off the loop.
func (s *session) work() error {
	s.while = "logging in"
	if err := s.flush(); err != nil {
		return err
	}
	s.workOffLoop()
	s.now = s.proxy.clock()
	s.dialogue.Worked()
	return nil
}

func (s *session) workOffLoop() {
	ctx, cancel := context.WithTimeout(s.proxy.ending, workWithin)
	defer cancel()
	defer s.offLoop()()
	s.dialogue.Work(ctx)
}
