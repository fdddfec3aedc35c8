package proxy

import (
	"time"

	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// settleAfter is how long an LMTP server must be silent before a client that goes on is taken
// to have all replies to its message.
const settleAfter = 2 * time.Second

// readSome is readReply, except that some replies to an LMTP message may never come. settled
// reports that no more replies to the message are expected: the server is silent and the
// client goes on. See [rewrite.Dialogue.Suffices].
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

// settleMessage ends the wait for further replies to an LMTP message.
func (s *session) settleMessage() {
	s.dialogue.Settle()
	s.answered = true
	s.countMessage()
	s.recipientsDone()
}

// sawReply records a reply to a message. With the last reply it counts the message.
func (s *session) sawReply(raw []byte) {
	s.taken = s.taken || raw[0] == '2'
	if s.dialogue.Awaited() != rewrite.VerbMessage {
		s.countMessage()
	}
}

// countMessage counts a message that has all its replies. A message that was accepted for at
// least one recipient counts as accepted.
func (s *session) countMessage() {
	outcome := vocabulary.MessageRefused
	if s.taken {
		s.sum.messages++
		outcome = vocabulary.MessageAccepted
	}
	s.taken = false
	s.messageOutcome(outcome)
}

// chunkWasRefused counts, once, a message of which the server has refused a chunk that is
// not the last: it has failed, whether or not the client sends the rest (RFC 3030, 2).
func (s *session) chunkWasRefused() {
	s.messageOutcome(vocabulary.MessageRefused)
	s.chunkRefused = true
}

// recipientReplied records a reply to an LMTP message with several recipients. It returns
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

// recipientsDone records the result of an LMTP message, if a reply for a recipient was a
// refusal.
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
