package proxy

import (
	"errors"
	"time"

	"smtpshim/proxy/tlspolicy"
	"smtpshim/proxy/wire"
	"smtpshim/rewrite/vocabulary"
)

// flush writes what the dialogue has for either side. An error of the server's
// shows when its reply is read: it may have said why before it went.
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

// saidNothingYet reports whether an error is that the client has hung up before it said
// anything, as checks of balancers do, whether by a FIN or a RST.
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

// reuse empties a buffer and keeps it if it is small.
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

// fill is a wait for octets of one side.
func (s *session) fill(l *wire.Leg, deadline time.Time) error {
	s.tellHeld()
	s.runner.BeforeRead()
	err := l.Fill(deadline)
	s.now = time.Now()
	return err
}

// write is a wait only if the other side does not take it.
func (s *session) write(l *wire.Leg, b []byte) error {
	err := l.Write(b, s.route.Timeouts.data())
	if l.Stalled() {
		s.now = time.Now()
	}
	return err
}

// serverSplice is serverWrite for what is in a conduit.
func (s *session) serverSplice(c *wire.SplicePipe) error {
	err := s.server.WritePipe(c, s.route.Timeouts.data())
	if s.server.Stalled() {
		s.now = time.Now()
	}
	if err != nil {
		s.trouble(err)
	}
	return err
}
