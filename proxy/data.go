package proxy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strings"

	"smtpshim/proxy/wire"
	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// message reads a message of the client to its end. If forward is true it sends the message
// to the server, else it drops the message.
func (s *session) message(forward bool) error {
	s.while = "passing on a message"
	if err := s.flush(); err != nil {
		return err
	}
	m := data{body: s.newBody(forward), text: s.dialogue.Text()}
	defer m.end()
	defer func() { s.client.Large = false }()
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
	if m.given {
		return nil
	}
	s.dialogue.MessageEnd(m.octets)
	if m.outcome != "" {
		m.report(m.outcome)
	} else {
		s.sum.message(m.octets)
	}
	return nil
}

// data is a body that comes by DATA: a message, up to a line of one dot.
type data struct {
	body
	text    *rewrite.Text
	outcome vocabulary.MessageOutcome // "": the server's reply decides
	since   []byte                    // what came after the reply that was given, if that may be a command
	last    lastOctets                // the last octets that the client has sent

	mends  bool         // a piece had to be mended, so later ones probably have to be
	mended *wire.Buffer // the buffer for mended pieces; nil: none
}

// room returns the buffer for the next mended piece. It is nil until a piece was mended.
func (m *data) room() []byte {
	if m.mended == nil && m.mends {
		m.mended = wire.GetBuffer()
	}
	if m.mended == nil {
		return nil
	}
	return m.mended[:0]
}

// piece sends on, or drops, what is buffered. Before it sends the final dot it checks that
// the server has not replied already: such a reply would be taken for the reply to the dot.
func (m *data) piece() (end bool, err error) {
	s := m.s
	for {
		src := s.client.Buffered()
		if m.text.Changes() { // the result may be as long again
			src = src[:min(len(src), wire.MiddleBuffer)]
		}
		out, n, end := m.text.Next(m.room(), src)
		m.mends = m.text.Mends()
		m.octets += int64(n)
		m.last.add(src[:n])
		if m.given && len(m.since) <= maxCommand {
			m.since = append(m.since, src[:min(n, maxCommand+1)]...)
		}
		if m.forward {
			out = m.judge(out, end)
		} else {
			m.dropped += int64(n)
		}
		if m.forward && end {
			if m.spoke() {
				if err := m.answered(m.serverErr); err != nil {
					return false, err
				}
			}
		}
		s.asked = s.now.Sub(s.began)
		if m.forward && len(out) > 0 {
			if err := s.serverWrite(out); err != nil {
				if err := m.writeFailed(err); err != nil {
					return false, err
				}
			}
		}
		s.client.Consume(n)
		if end || n == 0 || len(s.client.Buffered()) == 0 {
			return end, nil
		}
	}
}

// judge checks the message against the limit of size and the rules' verdict. It returns the
// piece if the message may go on. Otherwise it refuses the message, closes the server's
// connection and returns nil.
func (m *data) judge(out []byte, end bool) []byte {
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
	m.stop()
	m.forward, m.watches, m.outcome = false, false, vocabulary.MessageRefused
	s.closeServer()
	return nil
}

// more waits for more of the message, or for a reply of the server before its end.
func (m *data) more() error {
	s := m.s
	if m.dropped > maxDropped {
		return m.overrun()
	}
	if m.given {
		m.held = m.asks() || s.draining.Load()
	}
	m.spare()
	s.client.Large = m.octets > 0 // a short message fits the small buffer
	err := m.fill()
	switch {
	case err == nil, s.client.Interrupted(err):
		return nil
	case err == errServerFirst:
		return m.answered(m.serverErr)
	case err == errPause:
		return m.give()
	case errors.Is(err, wire.ErrFull):
		return fmt.Errorf("message buffer: %w", err)
	}
	m.report(cmp.Or(m.outcome, vocabulary.MessageCut))
	if m.last.lfEnd() {
		s.refusals.note().unfit = errLFEnd
	}
	return s.clientFailed(err)
}

// lastOctets are the last four octets of a text. If the text is shorter, the first are zero.
type lastOctets [4]byte

func (l *lastOctets) add(more []byte) {
	more = more[max(0, len(more)-len(l)):]
	n := copy(l[:], l[len(more):])
	copy(l[n:], more)
}

// lfEnd reports whether a reader that accepts LF as a line end would take the octets for the
// end of a message. The client that sent them waits for its reply.
func (l *lastOctets) lfEnd() bool {
	return string(l[1:]) == "\n.\n" || string(l[:]) == "\n.\r\n"
}

// errLFEnd says why a client waited in vain for the reply to its message.
var errLFEnd = errors.New("the last line of the message is a dot and LF alone; with lf_ends it would end the message")

// give sends the client a reply before the end of its message, because the client has
// paused. The first time that is the reply held for the end of the message: the client may
// be waiting for it. What the client sends after that is dropped, up to the end of the
// message. But if it is a command and the client pauses again, give replies to the command.
func (m *data) give() error {
	s, d := m.s, m.s.dialogue
	switch {
	case !m.given:
		d.MessageEnd(m.octets)
	case m.asks():
		d.CommandInText(m.since)
	default:
		d.Finish(drainingText)
	}
	m.held, m.given, m.since = false, true, nil
	m.report(m.outcome)
	if d.Next(false) == rewrite.End {
		return s.end()
	}
	return s.flushClient()
}

// maxCommand is the longest command line, in octets with its CRLF (RFC 5321, 4.5.3.1.4).
const maxCommand = 512

// asks reports whether the client, which got its reply before the end of its message, has
// sent one command since, and not more of the message.
func (m *data) asks() bool {
	if len(m.since) < 6 || len(m.since) > maxCommand || bytes.IndexByte(m.since, '\n') != len(m.since)-1 {
		return false
	}
	switch strings.ToUpper(string(m.since[:4])) {
	case "RSET", "QUIT", "NOOP", "MAIL":
		return true
	}
	return false
}

// overrun ends a session whose client goes on to send a message that is dropped. The client
// gets the reply that is held for the end of the message. The session's outcome does not
// blame the client, which cannot know that its message is dropped.
func (m *data) overrun() error {
	s := m.s
	m.report(m.outcome)
	s.trouble(errOverrun)
	if !m.given {
		s.dialogue.MessageEnd(m.octets)
	}
	s.flushClient()
	return s.failure()
}

// end stops the watch and releases the buffer for mended pieces.
func (m *data) end() {
	m.stop()
	m.spare()
}

// spare releases the buffer for mended pieces. It holds nothing while we wait for the client.
func (m *data) spare() {
	if m.mended != nil {
		wire.PutBuffer(m.mended)
		m.mended = nil
	}
}

// writeFailed handles a failed write to the server. The server may have sent a reply that
// says why it hung up.
func (m *data) writeFailed(err error) error {
	return m.answered(m.reasonFor(err))
}

// answered handles what the server sent before the end of the message, or, if failed is not
// nil, the loss of its connection. If the rules drop all that the server sent, the message goes
// on. Otherwise the server gets no more of it. The client gets the refusal, or a reply about
// the loss, at the end of the message or when it pauses.
func (m *data) answered(failed error) error {
	s := m.s
	raw, err := m.early(failed)
	if err == errDropped {
		return nil
	}
	m.forward, m.watches, m.held, m.outcome = false, false, true, vocabulary.MessageCut
	switch {
	case err == nil:
		if s.dialogue.Reply(raw, false, false); s.dialogue.Failure() == "" {
			m.outcome = vocabulary.MessageRefused
			break
		}
		s.trouble(fmt.Errorf("%w to a message that has not ended: %q", errBadReply, cut(raw)))
		s.misspoke(vocabulary.BadReplyUnfitting)
	case errors.Is(err, errBadReply):
		s.trouble(err)
		s.badReply(err)
		s.failed(vocabulary.ServerProtocol)
		s.dialogue.Garbage()
	default:
		m.lost(err)
		s.dialogue.MessageLost()
	}
	s.closeServer()
	if s.dialogue.Next(false) == rewrite.End {
		m.report(m.outcome)
		return s.end()
	}
	return nil
}
