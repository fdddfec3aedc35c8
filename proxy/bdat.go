package proxy

import (
	"bytes"
	"errors"
	"fmt"

	"smtpshim/proxy/wire"
	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// A chunk is a body that comes by BDAT: as many octets as the command says (RFC 3030, 2).
type chunk struct {
	body
	left      int64            // octets that have not come
	converted bool             // octets go to the server by DATA
	pipe      *wire.SplicePipe // nil: not made yet, or it could not be made

	refusal []byte // the server's, sent before it had the whole chunk; nil: none
	gone    bool   // the server was lost before it had the whole chunk
}

func (s *session) beginChunk(forward bool) chunk {
	size := s.dialogue.ChunkSize()
	s.client.Large = size > wire.SmallBuffer
	return chunk{body: s.newBody(forward), left: size}
}

// came counts octets of the chunk that have come.
func (c *chunk) came(n int) {
	c.octets += int64(n)
	c.left -= int64(n)
}

// next waits for octets of the chunk and returns them, at most as many as most says. It
// fails once too many octets were discarded. If it returns neither octets nor an error,
// something else ended the wait.
func (c *chunk) next(most int64) ([]byte, error) {
	s := c.s
	if len(s.client.Buffered()) == 0 {
		if c.dropped > maxDropped {
			return nil, c.overrun()
		}
		if err := c.more(); err != nil {
			return nil, err
		}
	}
	b := s.client.Buffered()
	b = b[:min(int64(len(b)), c.left, most)]
	c.came(len(b))
	if !c.forward {
		c.dropped += int64(len(b))
	}
	return b, nil
}

// more waits for octets of the chunk. If the server speaks meanwhile, more handles what it
// says. If the client pauses, more sends it a reply that is held.
func (c *chunk) more() error {
	s := c.s
	err := c.fill()
	switch {
	case err == nil, s.client.Interrupted(err):
		return nil
	case err == errServerFirst:
		return c.answered(c.serverErr)
	case err == errPause:
		return c.give()
	}
	c.cut()
	return s.clientFailed(err)
}

// cut reports a message that ends in the middle of this chunk, unless the client already
// has the reply to the chunk.
func (c *chunk) cut() {
	if !c.given {
		c.report(vocabulary.MessageCut)
	}
}

// writeFailed handles a failed write to the server. It reads the reason that the server
// may have given before it hung up. The server lacks part of the chunk and would take
// anything that follows for that part, so nothing more is written to it.
func (c *chunk) writeFailed(err error) error {
	if c.refusal == nil {
		if err := c.answered(c.reasonFor(err)); err != nil {
			return err
		}
	}
	c.forward = false
	if c.s.server != nil {
		c.s.server.CloseWrite()
	}
	return nil
}

// answered handles the server's reply, or the loss of the server, before the server has
// the whole chunk. failed is nil if the server has spoken. A refusal, or the report of the
// loss, is held until the end of the chunk or a pause of the client. A server that has
// refused a chunk gets the rest of it, because it counts the octets. If the chunk goes by
// DATA, the server gets no more of it.
func (c *chunk) answered(failed error) error {
	s := c.s
	raw, err := c.early(failed)
	if err == errDropped {
		return nil
	}
	c.watches, c.held = false, true
	switch {
	case err == nil && raw[0] >= '4':
		c.refusal = bytes.Clone(raw)
		if c.converted {
			c.forward = false
			s.closeServer()
		}
		return nil
	case err == nil: // a positive reply before the end of the chunk
		s.trouble(fmt.Errorf("%w to a chunk that has not ended: %q", errBadReply, cut(raw)))
		return c.broken(errUnasked)
	case errors.Is(err, errBadReply), errors.Is(err, wire.ErrFull):
		return c.broken(err)
	}
	c.lost(err)
	c.forward, c.gone = false, true
	s.closeServer()
	return nil
}

// broken ends the session because the server sent something that cannot be a reply to the
// chunk.
func (c *chunk) broken(err error) error {
	s := c.s
	s.trouble(err)
	s.badReply(err)
	s.failed(vocabulary.ServerProtocol)
	c.cut()
	s.dialogue.Garbage()
	return s.end()
}

// give sends the client the reply that is held for the end of the chunk. The client has
// paused and may be waiting for that reply.
func (c *chunk) give() error {
	c.conclude()
	if c.s.dialogue.Next(false) == rewrite.End {
		return c.s.end()
	}
	return c.s.flushClient()
}

// conclude has the dialogue answer, once, a chunk that the server has not received in
// full. It returns false if the server has received all of the chunk.
func (c *chunk) conclude() bool {
	s := c.s
	switch {
	case c.given:
		return true
	case c.gone:
		c.report(vocabulary.MessageCut)
		s.dialogue.Lost()
	case c.refusal != nil && c.converted:
		c.report(vocabulary.MessageRefused)
		s.dialogue.EarlyChunkReply(c.refusal)
	case c.refusal != nil && c.left > 0:
		s.sum.message(c.octets)
		s.replyIs(c.refusal)
	default:
		return false
	}
	c.held, c.given = false, true
	return true
}

// overrun ends the session of a client that goes on sending a chunk that nobody accepts.
// The client gets now the reply that it would get at the end of the chunk.
func (c *chunk) overrun() error {
	s := c.s
	s.trouble(errOverrun)
	if c.given || !c.conclude() { // the client has the reply to the chunk already
		c.cut()
		s.dialogue.Finish("421 4.3.0 what is being sent was refused long ago")
	}
	s.flushClient()
	if s.dialogue.Failure() != "" {
		return s.failure()
	}
	return s.over(vocabulary.OutcomeRefused, errOverrun)
}

func (c *chunk) end() {
	c.stop()
	c.s.client.Large = false
	if c.pipe != nil {
		c.pipe.Close()
	}
}

// unspliced is the number of octets at the end of a chunk that go through memory. A whole
// chunk goes through memory if it is no longer than that. Before the last octets are sent,
// we can then check whether the server has spoken.
const unspliced = 64 << 10

// splices reports whether the kernel can move the next octets of the chunk.
func (c *chunk) splices() bool {
	s := c.s
	if c.left <= unspliced || !s.client.CanSplice() || !s.server.CanSplice() || len(s.client.Buffered()) > 0 {
		return false
	}
	if c.pipe == nil {
		c.pipe, _ = wire.NewSplicePipe()
	}
	return c.pipe != nil
}

// splice waits for octets of the chunk and has the kernel move them to the server.
func (c *chunk) splice() error {
	s := c.s
	s.client.Divert(c.pipe, int(min(c.left-unspliced, wire.SplicePipeSize)))
	err := c.more()
	c.came(s.client.Diverted())
	s.client.Divert(nil, 0)
	if err != nil || !c.forward {
		return err
	}
	if err := s.serverSplice(c.pipe); err != nil {
		return c.writeFailed(err)
	}
	return nil
}

// chunk moves the octets of a BDAT to the server, or discards them. No other reply than
// the one to this BDAT is outstanding.
func (s *session) chunk(forward bool) error {
	s.while = "passing on a chunk"
	if s.premature() {
		return s.replied(nil, errUnasked)
	}
	if err := s.flush(); err != nil {
		return err
	}
	c := s.beginChunk(forward)
	c.whole = true
	defer c.end()
	for c.left > 0 {
		if c.forward && c.splices() {
			if err := c.splice(); err != nil {
				return err
			}
			continue
		}
		b, err := c.next(c.left)
		if err != nil {
			return err
		}
		if err := c.pass(b); err != nil {
			return err
		}
		s.client.Consume(len(b))
	}
	if c.conclude() {
		return nil
	}
	s.asked = s.now.Sub(s.began)
	s.sum.message(c.octets)
	s.dialogue.ChunkEnd()
	return nil
}

// pass sends octets of the chunk to the server unchanged. Before the last of them, pass
// checks whether the server has spoken: what it has said by then is no reply to the whole
// chunk.
func (c *chunk) pass(b []byte) error {
	s := c.s
	if c.forward && c.left == 0 && c.refusal == nil {
		if c.spoke() {
			if err := c.answered(c.serverErr); err != nil {
				return err
			}
		}
	}
	if !c.forward || len(b) == 0 {
		return nil
	}
	if err := s.serverWrite(b); err != nil {
		return c.writeFailed(err)
	}
	return nil
}

// chunkText is the state of a message that the client sends by BDAT and the server gets by
// DATA.
type chunkText struct {
	open    bool   // the server waits for the octets of another chunk
	refusal []byte // the server's, sent between two chunks; nil: none
}

// stuffedPiece is how many octets of a chunk are dot-stuffed at a time.
const stuffedPiece = 32 << 10

// chunkText moves the octets of a BDAT to the server as part of a message that goes by
// DATA.
func (s *session) chunkText() error {
	s.while = "passing on a chunk as text"
	if err := s.flush(); err != nil {
		return err
	}
	c := s.beginChunk(true)
	c.converted, c.refusal = true, s.text.refusal
	c.held = c.refusal != nil
	defer c.end()
	text, refusal := s.dialogue.Text(), ""
	for c.left > 0 {
		b, err := c.next(stuffedPiece)
		if err != nil {
			return err
		}
		out := text.Stuff(b)
		if refusal = text.Refusal(); refusal != "" {
			c.stop()
			c.forward, c.watches = false, false
		}
		if c.forward {
			if err := s.serverWrite(out); err != nil {
				if err := c.writeFailed(err); err != nil {
					return err
				}
			}
		}
		s.client.Consume(len(b))
	}
	return c.endText(refusal)
}

// endText ends a chunk. The end of the last chunk is the end of the message. A server that
// lacks part of the message, or that has already replied, does not get the final dot.
func (c *chunk) endText(refusal string) error {
	s, d := c.s, c.s.dialogue
	last := d.ChunkIsLast()
	var end []byte
	if last && refusal == "" {
		end = d.Text().StuffEnd()
		refusal = d.Text().Refusal()
	}
	s.text.open = true
	if last || refusal != "" {
		s.text = chunkText{}
	}
	if refusal != "" && !c.given {
		c.report(vocabulary.MessageRefused)
		d.RefuseChunk(refusal)
		return nil
	}
	if spoke := c.stop(); last && c.forward && (spoke || s.server.Spoke()) {
		if err := c.answered(c.serverErr); err != nil {
			return err
		}
	}
	if c.conclude() {
		return nil
	}
	s.sum.message(c.octets)
	if last {
		s.asked = s.now.Sub(s.began)
		s.serverWrite(end)
	}
	d.ChunkEnd()
	return nil
}
