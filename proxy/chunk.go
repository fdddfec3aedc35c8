package proxy

import (
	"time"

	"smtpshim/rewrite"
)

// chunk moves the octets of BDAT, to the server or to nobody (RFC 3030, 2).
func (s *session) chunk(forward bool) error {
	s.while = "passing on a chunk"
	if s.premature() {
		return s.replied(nil, errUnasked)
	}
	if err := s.flush(); err != nil {
		return err
	}
	left := s.dialogue.ChunkSize()
	s.client.large = left > smallBuffer
	defer func() { s.client.large = false }()
	for left > 0 {
		b := s.client.buffered()
		if len(b) == 0 {
			if err := s.client.fill(s.by(s.route.Timeouts.data())); err != nil && !s.client.interrupted(err) {
				s.messageOutcome("cut")
				return s.clientFailed(err)
			}
			continue
		}
		b = b[:min(int64(len(b)), left)]
		left -= int64(len(b))
		if forward && left == 0 && s.dialogue.Outstanding() == 1 {
			if s.server.spoke() && s.sayingYes() {
				return s.replied(nil, errUnasked) // to what it does not have yet
			}
		}
		if forward && s.serverWrite(b) != nil {
			forward = false // the reply, or its absence, says why
		}
		s.client.consume(len(b))
	}
	s.asked = time.Now()
	s.sum.message(s.dialogue.ChunkSize())
	s.dialogue.ChunkEnd()
	return nil
}

// sayingYes says whether what the server has begun to say is a good reply.
func (s *session) sayingYes() bool {
	if len(s.server.buffered()) == 0 {
		s.server.fill(time.Now().Add(spokeWait))
	}
	b := s.server.buffered()
	return len(b) > 0 && b[0] < '4'
}

// chunkText moves the octets of BDAT as part of a message that goes by DATA.
func (s *session) chunkText() error {
	s.while = "passing on a chunk as text"
	if err := s.flush(); err != nil {
		return err
	}
	s.client.large = s.dialogue.ChunkSize() > smallBuffer
	defer func() { s.client.large, s.mended = false, nil }()
	var failed error
	for left := s.dialogue.ChunkSize(); left > 0; {
		b := s.client.buffered()
		if len(b) == 0 {
			if err := s.client.fill(s.by(s.route.Timeouts.data())); err != nil && !s.client.interrupted(err) {
				s.messageOutcome("cut")
				return s.clientFailed(err)
			}
			continue
		}
		b = b[:min(int64(len(b)), left, stuffedPiece)]
		left -= int64(len(b))
		s.mended = s.stuffer.Append(s.mended[:0], b)
		if failed == nil {
			failed = s.serverWrite(s.mended)
		}
		s.client.consume(len(b))
	}
	s.sum.message(s.dialogue.ChunkSize())
	if s.dialogue.ChunkIsLast() {
		if s.server.spoke() && s.sayingYes() {
			return s.replied(nil, errUnasked)
		}
		s.asked = time.Now()
		if failed == nil {
			failed = s.serverWrite(s.stuffer.End(nil))
		}
		s.stuffer = rewrite.Stuffer{}
	} else if failed != nil {
		s.failed("lost")
		s.dialogue.Lost()
		return nil
	}
	s.dialogue.ChunkEnd()
	return nil
}

// stuffedPiece is how much of a chunk is made text at a time.
const stuffedPiece = 32 << 10
