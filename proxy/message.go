package proxy

import (
	"cmp"
	"errors"
	"fmt"
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
	m := transfer{s: s, forward: forward && s.server != nil, began: s.now}
	m.text = s.dialogue.Text()
	defer m.end()
	defer func() { s.client.large = false }()
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
	text    *rewrite.Text
	forward bool // to the server; false: dropped
	began   time.Time
	octets  int64 // of the client's
	watch   *watch
	outcome string // "": the server has yet to say

	mends  bool                // something had to be mended: more will have to be
	mended *[middleBuffer]byte // what mended pieces are made in; nil until then
}

// room is for a mended piece: large once one has been seen.
func (m *transfer) room() []byte {
	if m.mended == nil && m.mends {
		m.mended = middleBuffers.Get().(*[middleBuffer]byte)
	}
	if m.mended == nil {
		return nil
	}
	return m.mended[:0]
}

// piece moves what is buffered. The server is asked before its final dot
// whether it has not answered already: such an answer would be taken for the
// one to the dot.
func (m *transfer) piece() (end bool, err error) {
	s := m.s
	for {
		src := s.client.buffered()
		if m.text.Changes() { // to something as long again
			src = src[:min(len(src), middleBuffer)]
		}
		out, n, end := m.text.Next(m.room(), src)
		m.mends = m.text.Mends()
		m.octets += int64(n)
		if m.forward {
			out = m.judge(out, end)
		}
		if m.forward && end {
			m.close()
			if s.server.spoke() {
				if err := m.answered(nil); err != nil {
					return false, err
				}
			}
		}
		s.asked = s.now
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
func (m *transfer) judge(out []byte, end bool) []byte {
	s, limit, size := m.s, m.s.route.Limits.MessageSize, m.octets
	if end {
		size -= int64(len(".\r\n")) // RFC 1870, 5
	}
	if limit > 0 && size > limit {
		s.dialogue.TooLarge()
	} else if why := m.text.Refusal(); why != "" {
		s.dialogue.RefuseMessage(why)
	} else {
		return out
	}
	m.close()
	m.forward, m.outcome = false, "refused"
	s.closeServer()
	return nil
}

// errSlow is a client that sends a message octet by octet.
var errSlow = errors.New("the message comes too slowly")

// fillAt waits for more of a message, or a chunk, that began then and of which
// so much has come. It may not fall below the smallest rate; the first minute is
// not counted.
func (s *session) fillAt(began time.Time, octets int64) error {
	err := s.fill(s.client, s.by(s.route.Timeouts.data()))
	took := s.now.Sub(began)
	if err == nil && took > time.Minute && float64(octets) < took.Seconds()*float64(s.route.Limits.messageRate()) {
		return errSlow
	}
	return err
}

// more waits for more of the message, and for an answer before its end.
func (m *transfer) more() error {
	s := m.s
	if m.forward && m.watch == nil && m.octets > watchedMessage {
		server, client := s.server, s.client
		m.watch = startWatch(server, func() {
			client.interrupt()
			server.interruptWrite()
		})
	}
	if !m.forward && m.octets > maxDiscarded {
		m.ended(m.outcome)
		return s.sendsOn()
	}
	m.spare()
	s.client.large = m.octets > 0 // a short message fits the small buffer
	err := s.fillAt(m.began, m.octets)
	if m.watch != nil && m.watch.fired.Load() {
		if spoke, werr := m.stopWatch(); spoke {
			return m.answered(werr)
		}
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

// sendsOn ends a session whose client goes on sending what has been refused.
func (s *session) sendsOn() error {
	s.dialogue.Finish("421 4.3.0 what is being sent was refused long ago")
	s.flushClient()
	return s.over("client-protocol", fmt.Errorf("over %d octets behind a refusal", maxDiscarded))
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
	defer m.s.server.resumeWrite()
	return w.stop()
}

// end gives everything back.
func (m *transfer) end() {
	m.close()
	m.spare()
}

// spare gives back what nothing is in while the client is waited for.
func (m *transfer) spare() {
	if m.mended != nil {
		middleBuffers.Put(m.mended)
		m.mended = nil
	}
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
		raw, err = s.readReply(min(lastWords, s.route.Timeouts.reply()))
	}
	switch {
	case err == nil:
		if s.dialogue.Reply(raw, false, false); s.dialogue.Failure() == "" {
			m.outcome = "refused"
			break
		}
		s.trouble(fmt.Errorf("%w to a message that has not ended: %q", errBadReply, cut(raw)))
		s.misspoke("unfitting")
	case errors.Is(err, errBadReply):
		s.trouble(err)
		s.badReply(err)
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
