package proxy

import (
	"time"
)

// A chunk is the octets of one BDAT under way (RFC 3030, 2).
type chunk struct {
	s       *session
	size    int64
	left    int64
	began   time.Time
	conduit *conduit // nil: none yet, or none to be had
}

func (s *session) beginChunk() chunk {
	size := s.dialogue.ChunkSize()
	s.client.large = size > smallBuffer
	return chunk{s: s, size: size, left: size, began: s.now}
}

// next waits for more of the chunk. What goes to nobody is bounded.
func (c *chunk) next(most int64, dropped bool) ([]byte, error) {
	s := c.s
	for len(s.client.buffered()) == 0 {
		if dropped && c.size-c.left > maxDiscarded {
			s.messageOutcome("cut")
			return nil, s.sendsOn()
		}
		if err := s.fillAt(c.began, c.size-c.left); err != nil && !s.client.interrupted(err) {
			s.messageOutcome("cut")
			return nil, s.clientFailed(err)
		}
	}
	b := s.client.buffered()
	b = b[:min(int64(len(b)), c.left, most)]
	c.left -= int64(len(b))
	return b, nil
}

func (c *chunk) end() {
	c.s.client.large = false
	if c.conduit != nil {
		c.conduit.close()
	}
}

// conduitSize is what a conduit may hold, and the least that is worth one.
const conduitSize = 1 << 20

// unspliced are the last octets of a chunk, and a whole one that is no longer:
// they go through memory, so that the server can be looked at before the last.
const unspliced = 64 << 10

// splices says whether the kernel can move what comes next.
func (c *chunk) splices() bool {
	s := c.s
	if c.left <= unspliced || s.client.raw == nil || s.server.raw == nil || len(s.client.buffered()) > 0 {
		return false
	}
	if c.conduit == nil {
		c.conduit, _ = newConduit()
	}
	return c.conduit != nil
}

// splice waits for octets of the chunk and moves them to the server. If that
// takes no more, forward is false: the reply, or its absence, says why.
func (c *chunk) splice() (forward bool, err error) {
	s := c.s
	s.client.into, s.client.most = c.conduit, int(min(c.left-unspliced, conduitSize))
	err = s.fillAt(c.began, c.size-c.left)
	s.client.into = nil
	c.left -= int64(s.client.took)
	if err != nil && !s.client.interrupted(err) {
		s.messageOutcome("cut")
		return false, s.clientFailed(err)
	}
	return s.serverSplice(c.conduit) == nil, nil
}

// chunk moves the octets of BDAT, to the server or to nobody.
func (s *session) chunk(forward bool) error {
	s.while = "passing on a chunk"
	if s.premature() {
		return s.replied(nil, errUnasked)
	}
	if err := s.flush(); err != nil {
		return err
	}
	c := s.beginChunk()
	defer c.end()
	for c.left > 0 {
		if forward && c.splices() {
			var err error
			if forward, err = c.splice(); err != nil {
				return err
			}
			continue
		}
		b, err := c.next(c.left, !forward)
		if err != nil {
			return err
		}
		if forward && c.left == 0 && s.dialogue.Outstanding() == 1 {
			if s.server.spoke() && s.sayingYes() {
				return s.replied(nil, errUnasked) // to what it does not have yet
			}
		}
		if forward && s.serverWrite(b) != nil {
			forward = false // the reply, or its absence, says why
		}
		s.client.consume(len(b))
	}
	s.asked = s.now
	s.sum.message(c.size)
	s.dialogue.ChunkEnd()
	return nil
}

// sayingYes says whether what the server has begun to say is a good reply.
func (s *session) sayingYes() bool {
	if len(s.server.buffered()) == 0 {
		s.fill(s.server, s.now.Add(spokeWait))
	}
	b := s.server.buffered()
	return len(b) > 0 && b[0] < '4'
}

// stuffedPiece is how much of a chunk is made text at a time.
const stuffedPiece = 32 << 10

// chunkText moves the octets of BDAT as part of a message that goes by DATA.
func (s *session) chunkText() error {
	s.while = "passing on a chunk as text"
	if err := s.flush(); err != nil {
		return err
	}
	c := s.beginChunk()
	defer c.end()
	var failed error
	text, refusal := s.dialogue.Text(), ""
	for c.left > 0 {
		b, err := c.next(stuffedPiece, failed != nil || refusal != "")
		if err != nil {
			return err
		}
		out := text.Stuff(b)
		refusal = text.Refusal()
		if failed == nil && refusal == "" {
			failed = s.serverWrite(out)
		}
		s.client.consume(len(b))
	}
	s.sum.message(c.size)
	return s.chunkTextEnd(refusal, failed)
}

// chunkTextEnd is the end of a chunk, and with the last one that of the message.
// A server that has not got all of it, or has answered already, does not get a
// final dot.
func (s *session) chunkTextEnd(refusal string, failed error) error {
	d := s.dialogue
	last := d.ChunkIsLast()
	var end []byte
	if last && refusal == "" {
		end = d.Text().StuffEnd()
		refusal = d.Text().Refusal()
	}
	switch {
	case refusal != "":
		s.messageOutcome("refused")
		d.RefuseChunk(refusal)
		return nil
	case failed != nil, last && s.server.spoke():
		raw, err := s.readReply(min(lastWords, s.route.Timeouts.reply()))
		if err == nil && d.EarlyChunkReply(raw) {
			s.messageOutcome("refused")
			return nil
		}
		s.messageOutcome("cut")
		if err == nil {
			err = errUnasked
		}
		return s.replied(nil, err)
	case last:
		s.asked = s.now
		s.serverWrite(end)
	}
	d.ChunkEnd()
	return nil
}
