package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"smtpshim/proxy/wire"
	"smtpshim/rewrite/vocabulary"
)

// end ends the session because the dialogue has ended.
func (s *session) end() error {
	if s.dialogue.Failure() != "" {
		s.failure()
	}
	s.flush()
	return s.over(vocabulary.OutcomeOK, nil)
}

// failure ends the session with the outcome and the reason that the dialogue has for it. The
// log gives the reason after the first error, if there was one.
func (s *session) failure() error {
	reason := errors.New(s.dialogue.Reason())
	if s.err != nil && s.outcome == "" && !s.cut {
		s.err = fmt.Errorf("%w; then %w", s.err, reason)
	}
	return s.over(s.dialogue.Failure(), reason)
}

// drained ends an idle session because the proxy is draining.
func (s *session) drained() error {
	s.dialogue.Finish(drainingText)
	s.flushClient()
	if s.dialogue.Failure() != "" {
		return s.failure()
	}
	return s.over(vocabulary.OutcomeDrained, nil)
}

const drainingText = "421 4.3.2 the service is being shut down"

// clientFailed ends the session because the client's connection failed or timed out.
func (s *session) clientFailed(err error) error {
	late := isTimeout(err)
	if err == errSlow {
		s.limited(vocabulary.LimitMessageRate)
	}
	if late {
		s.dialogue.Finish(s.lateText(err))
		s.flushClient()
	}
	switch {
	case s.dialogue.Failure() != "": // the dialogue has ended, and knows why
		return s.failure()
	case late:
		return s.over(vocabulary.OutcomeClientTimeout, err)
	case s.saidNothingYet(err):
		return s.over(vocabulary.OutcomeSilent, nil)
	}
	return s.over(vocabulary.OutcomeClientLost, err)
}

// lateText returns the reply to a client that is too slow.
func (s *session) lateText(err error) string {
	switch {
	case err == errSlow:
		return "421 4.4.2 the message comes too slowly"
	case s.dialogue.Next(false).OfMessage():
		return "421 4.4.2 no more of the message in time"
	}
	return "421 4.4.2 no command in time"
}

// over sets the outcome, unless there is one, and records the error. It returns errEnded.
func (s *session) over(outcome vocabulary.Outcome, err error) error {
	if s.outcome == "" {
		s.outcome = outcome
		s.trouble(err)
		if s.cut && outcome != vocabulary.OutcomeOK {
			s.outcome = vocabulary.OutcomeCutOff // we ended it, not a peer
		}
	}
	return errEnded
}

// trouble keeps the first error for the log. It ignores io.EOF, and all errors once we have
// closed a connection ourselves.
func (s *session) trouble(err error) {
	s.cut = s.cut || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled)
	if s.err == nil && err != nil && err != io.EOF && !s.cut {
		s.err = err
	}
}

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
