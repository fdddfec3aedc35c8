package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"os"
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
	m := transfer{s: s, forward: forward && s.server != nil, began: time.Now()}
	m.message.LF = covers(s.route.Message.LFEnds, s.address)
	defer m.close()
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
	forward bool // to the server; false: dropped
	lines   rewrite.Lines
	folded  []byte // what pieces with long lines are made in
	began   time.Time
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
		m.octets += int64(n)
		if m.forward {
			out = m.judge(out)
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
		s.client.consume(n)
		if end || n == 0 || len(s.client.buffered()) == 0 {
			return end, nil
		}
	}
}

// judge holds a piece against what the route lets through, and refuses the
// message, or gives the piece as it may pass.
func (m *transfer) judge(out []byte) []byte {
	policy, limit := &m.s.route.Message, m.s.route.Limits.MessageSize
	switch {
	case limit > 0 && m.octets > limit:
		m.s.dialogue.TooLarge()
	case policy.StrayBytes == StrayRefuse && m.message.Mended() > 0:
		m.s.dialogue.RefuseMessage("554 5.6.0 the message has a bare CR, a bare LF or a NUL in it")
	case policy.LongLines == LongPass:
		return out
	case policy.LongLines == LongFold:
		folded := m.lines.Fold(m.folded[:0], out)
		if len(folded) > len(out) {
			m.folded = folded
		}
		return folded
	default:
		if m.lines.Measure(out); m.lines.Long() == 0 {
			return out
		}
		m.s.dialogue.RefuseMessage("554 5.6.0 the message has a line of more than 998 octets")
	}
	m.close()
	m.forward, m.outcome = false, "refused"
	m.s.closeServer()
	return nil
}

// errSlow is a client that sends a message octet by octet.
var errSlow = fmt.Errorf("%w: the message comes too slowly", os.ErrDeadlineExceeded)

// tooSlow says whether a message has fallen below the smallest rate. The first
// minute is not counted.
func (m *transfer) tooSlow() bool {
	took := time.Since(m.began)
	return took > time.Minute && float64(m.octets) < took.Seconds()*float64(m.s.route.Limits.messageRate())
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
	s.client.large = m.octets > 0 // a short message fits the small buffer
	err := s.client.fill(s.by(s.route.Timeouts.data()))
	if err == nil && m.tooSlow() {
		err = errSlow
	}
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
