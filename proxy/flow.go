package proxy

import (
	"errors"
	"time"

	"smtpshim/proxy/tlspolicy"
	"smtpshim/proxy/wire"
	"smtpshim/rewrite/vocabulary"
)

// flush writes the dialogue's output to the server and to the client. It ignores an error
// of the server's connection, because the server may have given the reason before it hung
// up. Reading the reply returns that reason, or the error.
func (s *session) flush() error {
	d := s.dialogue
	if len(d.ToServer) > 0 {
		if s.server != nil {
			s.asked = s.now.Sub(s.began)
			s.serverWrite(d.ToServer)
		}
		d.ToServer = reuse(d.ToServer)
	}
	return s.flushClient()
}

func (s *session) flushClient() error {
	d := s.dialogue
	err := s.write(s.client, d.ToClient)
	d.ToClient = reuse(d.ToClient)
	switch {
	case err == nil:
		return nil
	case s.dialogue.Failure() == "" && s.saidNothingYet(err):
		return s.over(vocabulary.OutcomeSilent, nil)
	}
	return s.over(vocabulary.OutcomeClientLost, err)
}

// saidNothingYet reports whether err means that the client hung up, by FIN or RST, before
// it sent anything. Health checks of load balancers do that.
func (s *session) saidNothingYet(err error) bool {
	if s.client.Total > 0 {
		return false
	}
	failed, ok := errors.AsType[*tlspolicy.Error](err)
	if ok {
		return failed.Silent
	}
	return tlspolicy.HungUp(err)
}

// reuse returns b without its contents, for further use; nil if b is large.
func reuse(b []byte) []byte {
	if cap(b) > keptOutput {
		return nil
	}
	return b[:0]
}

const keptOutput = 512

func (s *session) serverWrite(b []byte) error {
	err := s.write(s.server, b)
	if err != nil {
		s.trouble(err)
	}
	return err
}

// fill waits until octets come from one side, at most until the deadline.
func (s *session) fill(l *wire.Leg, deadline time.Time) error {
	s.tellHeld()
	s.runner.BeforeRead()
	err := l.Fill(deadline)
	s.now = s.endOfWait(err)
	return err
}

// endOfWait returns when a wait ended that has just ended with err. In a loop that is when
// the loop's own wait ended: reading the clock for each line costs time. What the loop did
// for others since is missing, so whoever waits for a short time reads the clock himself.
// endOfWait reads it after an error, because a deadline may have passed since, and if
// Observer.Held will be told of the work that follows.
func (s *session) endOfWait(err error) time.Time {
	at, inLoop := s.runner.Woke()
	switch {
	case err != nil || !inLoop || (s.waits+1)%heldEvery == 0:
		return s.proxy.clock()
	case at.After(s.now):
		return at
	}
	return s.now
}

// write writes to one side. It waits only while that side does not read.
func (s *session) write(l *wire.Leg, b []byte) error {
	err := l.Write(b, s.route.Timeouts.data())
	if l.Stalled() {
		s.now = s.proxy.clock()
	}
	return err
}

// serverSplice is serverWrite for the contents of a SplicePipe.
func (s *session) serverSplice(c *wire.SplicePipe) error {
	err := s.server.WritePipe(c, s.route.Timeouts.data())
	if s.server.Stalled() {
		s.now = s.proxy.clock()
	}
	if err != nil {
		s.trouble(err)
	}
	return err
}

func isTimeout(err error) bool { return wire.IsTimeout(err) || err == errSlow }
