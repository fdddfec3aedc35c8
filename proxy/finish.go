package proxy

import (
	"time"

	"smtpshim/proxy/wire"
	"smtpshim/rewrite/vocabulary"
)

// finish closes both sides and tells how it was. Each of its steps is done once:
// called again after one has panicked, it goes on behind that.
func (s *session) finish() {
	for int(s.finished) < len(finishing) {
		s.finished++
		finishing[s.finished-1](s)
	}
}

// finishing are the steps of finish.
var finishing = [...]func(*session){(*session).settle, (*session).closeDialogue, (*session).closeServer, (*session).uncount, (*session).linger,
	(*session).closeClient, (*session).conclude, (*session).vacate, (*session).countOctets, (*session).countEnd, (*session).tellEnd, (*session).logEnd,
	(*session).leave}

// settle decides on the outcome.
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

// closeDialogue gives up a turn that is held.
func (s *session) closeDialogue() {
	if s.dialogue != nil {
		s.dialogue.Close()
	}
}

// uncount has the session count for no server any more.
func (s *session) uncount() { s.counts(nil) }

func (s *session) vacate() { s.proxy.vacate(s) }

// leave is the end of the session: Drain and Close wait for it.
func (s *session) leave() {
	if s.isDefective {
		wire.Contain(s.kill) // what closes it may be what has panicked
	}
	if !s.entered {
		s.entered = true
		s.proxy.arriving.Done()
	}
	s.proxy.leave(s)
}

// countEnd tells the observer that the session has ended, if it knows that it began.
func (s *session) countEnd() {
	if s.begun && s.route.Observer != nil {
		s.route.Observer.SessionEnded(s.outcome, time.Since(s.began))
	}
}

// linger waits until the client has what was written: a close with octets unread
// would take it back (RFC 1122, 4.2.2.13).
func (s *session) linger() {
	if s.client == nil || s.isDefective && s.mute {
		return
	}
	clean := (s.outcome == vocabulary.OutcomeOK || s.outcome == vocabulary.OutcomeSilent) && len(s.client.Buffered()) == 0
	if clean || s.outcome == vocabulary.OutcomeClientLost || s.outcome == vocabulary.OutcomeCutOff || s.outcome == vocabulary.OutcomeOpaque {
		return
	}
	s.client.CloseWrite()
	deadline := time.Now().Add(lingering)
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

// How long, and how much of it, a client is read after its last reply.
const (
	lingering       = time.Second
	lingeringOctets = 16 << 20
)
