package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"smtpshim/rewrite"
)

const (
	// A message this long is watched for an answer before its end; a shorter
	// one has arrived before an answer to it could.
	watchedMessage = 64 << 10
	// maxDiscarded bounds what is read and dropped for a client that goes on
	// sending what has been refused.
	maxDiscarded = 256 << 20
)

// message moves a message of the client's to its end, to the server or to nobody.
func (s *session) message(forward bool) error {
	s.while = "passing on a message"
	if err := s.flush(); err != nil {
		return err
	}
	m := transfer{s: s, forward: forward && s.server != nil}
	defer m.close()
	s.client.large = true
	defer func() { s.client.large, s.mended = false, nil }()
	for {
		end, err := m.piece()
		if err != nil {
			return err
		}
		if end {
			break
		}
		if err := m.more(); err != nil {
			return err
		}
	}
	s.dialogue.MessageEnd(m.octets)
	if m.outcome != "" {
		m.ended(m.outcome)
	} else {
		s.sum.message(m.octets)
	}
	return nil
}

// A transfer is one message under way.
type transfer struct {
	s       *session
	message rewrite.Message
	forward bool  // to the server; false: dropped
	octets  int64 // of the client's
	watch   *watch
	outcome string // "": the server has yet to say
}

// piece moves what is buffered. The server is asked before its final dot
// whether it has not answered already: such an answer would be taken for the
// one to the dot.
func (m *transfer) piece() (end bool, err error) {
	s := m.s
	for {
		src := s.client.buffered()
		out, n, end := m.message.Next(s.mended[:0], src)
		if len(out) > 0 && n > 0 && &out[0] != &src[0] {
			s.mended = out
		}
		if m.forward && end {
			m.close()
			if s.server.spoke() {
				if err := m.answered(nil); err != nil {
					return false, err
				}
			}
		}
		s.asked = time.Now()
		if m.forward && len(out) > 0 {
			if err := s.serverWrite(out); err != nil {
				if err := m.writeFailed(err); err != nil {
					return false, err
				}
			}
		}
		m.octets += int64(n)
		s.client.consume(n)
		if end || n == 0 || len(s.client.buffered()) == 0 {
			return end, nil
		}
	}
}

// more waits for more of the message, and for an answer before its end.
func (m *transfer) more() error {
	s := m.s
	if m.forward && m.watch == nil && m.octets > watchedMessage {
		server, client := s.server, s.client
		m.watch = startWatch(server, func() {
			client.interrupt()
			server.conn.SetWriteDeadline(time.Unix(1, 0))
		})
	}
	if !m.forward && m.octets > maxDiscarded {
		s.dialogue.Finish("421 4.3.0 the message was refused long ago")
		s.flushClient()
		m.ended(m.outcome)
		return s.over("client-protocol", fmt.Errorf("over %d octets behind a refusal", maxDiscarded))
	}
	err := s.client.fill(time.Now().Add(s.route.Timeouts.data()))
	if m.watch != nil && m.watch.fired.Load() {
		_, werr := m.stopWatch()
		return m.answered(werr)
	}
	switch {
	case err == nil, s.client.interrupted(err):
		return nil
	case errors.Is(err, errFull):
		return fmt.Errorf("message buffer: %w", err)
	}
	m.ended(cmp.Or(m.outcome, "cut"))
	return s.clientFailed(err)
}

// ended reports a message that the server was not asked for an answer to.
func (m *transfer) ended(outcome string) {
	m.close()
	m.s.sum.message(m.octets)
	m.s.messageOutcome(outcome)
}

func (m *transfer) stopWatch() (bool, error) {
	w := m.watch
	m.watch = nil
	m.s.server.writeBy = time.Time{}
	return w.stop()
}

// close takes the watch back; what it has read stays buffered.
func (m *transfer) close() {
	if m.watch != nil {
		m.stopWatch()
	}
}

// writeFailed looks for the reason that the server gave before it went.
func (m *transfer) writeFailed(err error) error {
	var werr error
	if m.watch != nil {
		_, werr = m.stopWatch()
	}
	if isTimeout(err) && werr == nil && !m.s.server.spoke() {
		werr = err
	}
	return m.answered(werr)
}

// answered is the server's answer, or its loss, before the message's end: from
// here on nothing more is written to it.
func (m *transfer) answered(err error) error {
	s := m.s
	m.forward, m.outcome = false, "cut"
	var raw []byte
	if err == nil {
		raw, err = s.readReply(lastWords)
	}
	switch {
	case err == nil:
		if s.dialogue.Reply(raw, false, false); s.dialogue.Failure() == "" {
			m.outcome = "refused"
			break
		}
		s.trouble(fmt.Errorf("%w to a message that has not ended: %q", errBadReply, cut(raw)))
		s.failed("protocol")
	case errors.Is(err, errBadReply):
		s.trouble(err)
		s.failed("protocol")
		s.dialogue.Garbage()
	case isTimeout(err):
		s.trouble(err)
		s.failed("timeout")
		s.dialogue.MessageLost()
	default:
		s.trouble(err)
		s.failed("lost")
		s.dialogue.MessageLost()
	}
	s.closeServer()
	if s.dialogue.Next(false) == rewrite.End {
		m.ended(m.outcome)
		return s.end()
	}
	return nil
}

// lastWords is how long a server that fails in the middle of a message is
// waited for to say why.
const lastWords = 5 * time.Second

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
			if err := s.client.fill(time.Now().Add(s.route.Timeouts.data())); err != nil && !s.client.interrupted(err) {
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

// opaque moves octets both ways until both sides have ended. One read is one
// write: receivers of sealed blocks break on joined ones (KB Q245565).
func (s *session) opaque() error {
	s.while = "passing on what cannot be read"
	if err := s.flush(); err != nil {
		return err
	}
	server, client := s.server, s.client
	if server == nil {
		return s.over("server-lost", nil)
	}
	var last atomic.Int64
	last.Store(time.Now().UnixNano())
	done := make(chan error, 1)
	go func() { done <- s.pump(client, server, &last) }()
	err := s.pump(server, client, &last)
	if err := errors.Join(err, <-done); err != nil {
		return s.over("opaque", err)
	}
	return s.over("opaque", nil)
}

// pump moves octets one way. It ends when the source does, or when nothing has
// moved either way for as long as an answer to a message may take.
func (s *session) pump(to, from *leg, last *atomic.Int64) error {
	defer to.closeWrite()
	allowed := s.route.Timeouts.dataEnd()
	for {
		if b := from.buffered(); len(b) > 0 {
			last.Store(time.Now().UnixNano())
			if err := to.write(b, allowed); err != nil {
				from.interrupt()
				return err
			}
			from.consume(len(b))
		}
		err := from.fill(time.Unix(0, last.Load()).Add(allowed))
		switch {
		case err == nil:
		case err == io.EOF:
			return nil
		case isTimeout(err) && time.Since(time.Unix(0, last.Load())) < allowed && !s.closing.Load():
			// the other way was busy
		default:
			s.closing.Store(true)
			to.interrupt()
			return err
		}
	}
}
