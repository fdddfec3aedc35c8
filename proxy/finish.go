package proxy

import (
	"time"

	"smtpshim/proxy/wire"
	"smtpshim/rewrite/vocabulary"
)

// finish closes the connections to client and server and reports how the session ended.
// Each of its steps runs once: after a panic, the next call continues after the step that
// panicked.
func (s *session) finish() {
	for int(s.finished) < len(finishing) {
		s.finished++
		finishing[s.finished-1](s)
	}
}

// finishing holds the steps of finish, in order.
var finishing = [...]func(*session){(*session).settle, (*session).closeDialogue, (*session).closeServer, (*session).uncount, (*session).linger,
	(*session).closeClient, (*session).conclude, (*session).vacate, (*session).countOctets, (*session).countEnd, (*session).tellEnd, (*session).logEnd,
	(*session).leave}

// settle determines the outcome of the session.
func (s *session) settle() {
	if d := s.lost.Load(); d != nil {
		s.defective(d)
	}
	switch {
	case s.isDefective:
		return
	case s.unsure:
		s.outcome = vocabulary.OutcomeUnknown
	case s.outcome == "":
		s.outcome = vocabulary.OutcomeOK
	}
}

// closeDialogue closes the dialogue, which gives up a held turn.
func (s *session) closeDialogue() {
	if s.dialogue != nil {
		s.dialogue.Close()
	}
}

// uncount makes the session count for no server.
func (s *session) uncount() { s.counts(nil) }

func (s *session) vacate() { s.proxy.vacate(s) }

// leave removes the session from the Proxy. Drain and Close wait for that.
func (s *session) leave() {
	if s.isDefective {
		wire.Contain(s.kill) // the step that closes a connection may have panicked
	}
	if !s.entered {
		s.entered = true
		s.proxy.arriving.Done()
	}
	s.proxy.leave(s)
}

// countEnd tells the observer that the session has ended, if the observer knows that it
// began.
func (s *session) countEnd() {
	if s.begun && s.route.Observer != nil {
		s.route.Observer.SessionEnded(s.outcome, s.proxy.clock().Sub(s.began))
	}
}

// linger waits until the client has received what we wrote. It reads and discards
// what the client still sends: closing a connection with unread octets resets it, and the
// client may then lose what we wrote (RFC 1122, 4.2.2.13).
func (s *session) linger() {
	if s.client == nil || s.isDefective && s.mute {
		return
	}
	clean := (s.outcome == vocabulary.OutcomeOK || s.outcome == vocabulary.OutcomeSilent) && len(s.client.Buffered()) == 0
	if clean || s.outcome == vocabulary.OutcomeClientLost || s.outcome == vocabulary.OutcomeCutOff || s.outcome == vocabulary.OutcomeOpaque {
		return
	}
	s.client.CloseWrite()
	deadline := s.proxy.clock().Add(lingering)
	for most := s.client.Total + lingeringOctets; s.client.Total < most; {
		s.client.Consume(len(s.client.Buffered()))
		if err := s.fill(s.client, deadline); err != nil && !s.client.Interrupted(err) {
			break
		}
	}
}

func (s *session) closeClient() {
	if s.client != nil {
		s.client.Close()
	}
}

// lingering and lingeringOctets limit for how long, and how much, linger reads.
const (
	lingering       = time.Second
	lingeringOctets = 16 << 20
)
