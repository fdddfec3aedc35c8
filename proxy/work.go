package proxy

import (
	"context"
	"time"
)

// workWithin bounds what a login may take before the server is asked: a client that
// waits for an answer gives up after 20 to 30 seconds (scanners).
const workWithin = 20 * time.Second

// work does what a login needs and what may take a while: a token, a place among the
// sessions of an account, the check of a password. The loop serves others meanwhile.
func (s *session) work() error {
	s.while = "logging in"
	if err := s.flush(); err != nil {
		return err
	}
	s.workOffLoop()
	s.now = time.Now()
	s.dialogue.Worked()
	return nil
}

func (s *session) workOffLoop() {
	ctx, cancel := context.WithTimeout(s.proxy.ending, workWithin)
	defer cancel()
	defer s.offLoop()()
	s.dialogue.Work(ctx)
}
