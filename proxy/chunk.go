package proxy

import (
	"bytes"
	"errors"
	"fmt"

	"smtpshim/proxy/wire"
	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// A chunk is the octets of one BDAT under way (RFC 3030, 2).
type chunk struct {
	bodyWait
	size      int64
	left      int64
	forward   bool             // to the server; false: dropped
	converted bool             // it goes by DATA
	pipe      *wire.SplicePipe // nil: none yet, or none to be had

	refusal []byte // the server's, before it had the whole chunk; nil: none
	lost    bool   // the server was, before it had the whole chunk
	given   bool   // the client has got the answer before the end of the chunk
	dropped int64  // octets that went to nobody
}

func (s *session) beginChunk(forward bool) chunk {
	size := s.dialogue.ChunkSize()
	s.client.Large = size > wire.SmallBuffer
	forward = forward && s.server != nil
	return chunk{bodyWait: bodyWait{s: s, began: s.now, watches: forward}, size: size, left: size, forward: forward}
}

// next waits for more of the chunk, and gives it. What goes to nobody is bounded.
// Nothing without an error means that something else came first.
func (c *chunk) next(most int64) ([]byte, error) {
	s := c.s
	if len(s.client.Buffered()) == 0 {
		if c.dropped > maxDiscarded {
			return nil, c.overrun()
		}
		if err := c.more(); err != nil {
			return nil, err
		}
	}
	b := s.client.Buffered()
	b = b[:min(int64(len(b)), c.left, most)]
	c.left -= int64(len(b))
	if !c.forward {
		c.dropped += int64(len(b))
	}
	return b, nil
}

// more waits for more of the chunk, and for what the server says before its end.
func (c *chunk) more() error {
	s := c.s
	err := c.fill(c.size - c.left)
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

// cut reports a message that has ended in the middle of this chunk.
func (c *chunk) cut() {
	if !c.given {
		c.s.sum.message(c.size - c.left)
		c.s.messageOutcome(vocabulary.MessageCut)
	}
}

// writeFailed looks for the reason that the server gave before it went. The server
// has not got all of the chunk: what followed would be taken for the rest of it.
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

// answered is the server's answer, or its loss, before it has the whole chunk. A
// refusal, or the news of the loss, is held for the end of the chunk, or for a
// pause of the client. The server gets the rest of a chunk that it has refused:
// it counts the octets.
func (c *chunk) answered(err error) error {
	s := c.s
	var raw []byte
	if err == nil {
		if s.saidNothing() {
			return nil
		}
		if raw, err = s.readReply(min(lastWords, s.route.Timeouts.reply())); err == errDropped {
			return nil
		}
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
	case err == nil: // a yes to what the server does not have yet
		s.trouble(fmt.Errorf("%w to a chunk that has not ended: %q", errBadReply, cut(raw)))
		return c.broken(errUnasked)
	case errors.Is(err, errBadReply), errors.Is(err, wire.ErrFull):
		return c.broken(err)
	}
	s.trouble(err)
	if isTimeout(err) {
		s.failed(vocabulary.ServerTimeout)
	} else {
		s.failed(vocabulary.ServerLost)
	}
	c.forward, c.lost = false, true
	s.closeServer()
	return nil
}

// broken ends the session of a server that has said what cannot be an answer.
func (c *chunk) broken(err error) error {
	s := c.s
	s.trouble(err)
	s.badReply(err)
	s.failed(vocabulary.ServerProtocol)
	c.cut()
	s.dialogue.Garbage()
	return s.end()
}

// give gives the client, which has paused, the answer that is held for the end of
// the chunk: it may be waiting for that.
func (c *chunk) give() error {
	c.conclude()
	if c.s.dialogue.Next(false) == rewrite.End {
		return c.s.end()
	}
	return c.s.flushClient()
}

// conclude has the dialogue answer a chunk of which the server has not got all.
// It is false if the server has.
func (c *chunk) conclude() bool {
	s := c.s
	switch {
	case c.given:
		return true
	case c.lost:
		s.sum.message(c.size - c.left)
		s.messageOutcome(vocabulary.MessageCut)
		s.dialogue.Lost()
	case c.refusal != nil && c.converted:
		s.sum.message(c.size - c.left)
		s.messageOutcome(vocabulary.MessageRefused)
		s.dialogue.EarlyChunkReply(c.refusal)
	case c.refusal != nil && c.left > 0:
		s.sum.message(c.size - c.left)
		s.replyIs(c.refusal)
	default:
		return false
	}
	c.held, c.given = false, true
	return true
}

// overrun ends a session whose client goes on sending a chunk that nobody takes.
// The client gets now what it would get at the chunk's end.
func (c *chunk) overrun() error {
	s := c.s
	s.trouble(errOverrun)
	if c.given || !c.conclude() { // the client was told before it sent the chunk
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

// unspliced are the last octets of a chunk, and a whole one that is no longer:
// they go through memory, so that the server can be looked at before the last.
const unspliced = 64 << 10

// splices says whether the kernel can move what comes next.
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

// splice waits for octets of the chunk and moves them to the server.
func (c *chunk) splice() error {
	s := c.s
	s.client.Divert(c.pipe, int(min(c.left-unspliced, wire.SplicePipeSize)))
	err := c.more()
	c.left -= int64(s.client.Diverted())
	s.client.Divert(nil, 0)
	if err != nil || !c.forward {
		return err
	}
	if err := s.serverSplice(c.pipe); err != nil {
		return c.writeFailed(err)
	}
	return nil
}

// chunk moves the octets of BDAT, to the server or to nobody. The reply to this
// BDAT is the only one that is outstanding.
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
	s.sum.message(c.size)
	s.dialogue.ChunkEnd()
	return nil
}

// pass sends the server octets of the chunk as they are. Before the last of them it
// is looked at: what it has said by then is no answer to the whole chunk.
func (c *chunk) pass(b []byte) error {
	s := c.s
	if c.forward && c.left == 0 && c.refusal == nil {
		if c.stop() || s.server.Spoke() {
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

// chunkText is a message that comes by BDAT and goes by DATA.
type chunkText struct {
	open    bool   // the server waits for another chunk
	refusal []byte // the server's, which came between two chunks; nil: none
}

// stuffedPiece is how much of a chunk is made text at a time.
const stuffedPiece = 32 << 10

// chunkText moves the octets of BDAT as part of a message that goes by DATA.
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

// endText is the end of a chunk, and with the last one that of the message. A
// server that has not got all of it, or has answered already, does not get a final
// dot.
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
		s.sum.message(c.size)
		s.messageOutcome(vocabulary.MessageRefused)
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
	s.sum.message(c.size)
	if last {
		s.asked = s.now.Sub(s.began)
		s.serverWrite(end)
	}
	d.ChunkEnd()
	return nil
}
