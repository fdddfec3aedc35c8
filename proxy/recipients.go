package proxy

import (
	"time"

	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// settleAfter is for how long a server of LMTP says nothing more to a message before a
// client that goes on is believed to have all its replies.
const settleAfter = 2 * time.Second

// readSome is readReply where the reply may not come: settled reports that a message of
// LMTP has had all its replies, since the client goes on and the server is silent.
func (s *session) readSome(allowed time.Duration) (raw []byte, settled bool, err error) {
	deadline := s.now.Add(allowed)
	for s.dialogue.Suffices() && s.server != nil {
		raw, err := s.readReply(min(settleAfter, deadline.Sub(s.now)))
		switch {
		case err == nil, !isTimeout(err), !s.now.Before(deadline):
			return raw, false, err
		case len(s.server.Buffered()) == 0 && s.client.Spoke():
			s.settleMessage()
			return nil, true, nil
		}
		allowed = deadline.Sub(s.now)
	}
	raw, err = s.readReply(allowed)
	return raw, false, err
}

// settleMessage ends the wait for replies to a message of LMTP.
func (s *session) settleMessage() {
	s.dialogue.Settle()
	s.answered = true
	s.countMessage()
	s.recipientsDone()
}

// sawReply counts the answer to a message, once the last of its replies is there.
func (s *session) sawReply(raw []byte) {
	s.taken = s.taken || raw[0] == '2'
	if s.dialogue.Awaited() != rewrite.VerbMessage {
		s.countMessage()
	}
}

// countMessage counts a message whose replies are there. One that was taken for any
// recipient is accepted.
func (s *session) countMessage() {
	outcome := vocabulary.MessageRefused
	if s.taken {
		s.sum.messages++
		outcome = vocabulary.MessageAccepted
	}
	s.taken = false
	s.messageOutcome(outcome)
}

// recipientReplied notes a reply to a message of LMTP with several recipients. It is
// false for any other message.
func (s *session) recipientReplied(code int, text []byte) bool {
	more, n := s.dialogue.Awaited() == rewrite.VerbMessage, s.refusals.noted
	if !more && !s.taken && (n == nil || n.each.code == 0) {
		return false
	}
	switch {
	case code < 300:
		s.taken = true
	case code != 421 && (n == nil || n.each.code == 0):
		s.refusals.note().each = refusal{verb: rewrite.VerbMessage, code: code}.with(text)
	}
	if !more {
		s.recipientsDone()
	}
	return true
}

// recipientsDone notes what became of a message of LMTP of which a recipient was
// refused.
func (s *session) recipientsDone() {
	n := s.refusals.noted
	if n == nil || n.each.code == 0 {
		return
	}
	each := n.each
	n.each = refusal{}
	if s.taken {
		n.succeeded(rewrite.VerbMessage)
		n.partial = each
	} else {
		n.mail = each
		n.giveUp()
	}
}
