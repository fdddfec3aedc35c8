package proxy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"smtpshim/proxy/wire"
	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// maxDiscarded bounds what is read and dropped of a message or chunk that nobody
// takes any more, in octets.
const maxDiscarded = 256 << 20

// message moves a message of the client's to its end, to the server or to nobody.
func (s *session) message(forward bool) error {
	s.while = "passing on a message"
	if err := s.flush(); err != nil {
		return err
	}
	m := transfer{bodyWait: bodyWait{s: s, began: s.now}, forward: forward && s.server != nil, text: s.dialogue.Text()}
	m.watches = m.forward
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

// A transfer is one message under way.
type transfer struct {
	bodyWait
	text     *rewrite.Text
	forward  bool                      // to the server; false: dropped
	octets   int64                     // of the client's
	outcome  vocabulary.MessageOutcome // "": the server has yet to say
	reported bool                      // the outcome is
	given    bool                      // the client has got its answer before the end: what is left is dropped
	dropped  int64                     // octets of the client's that went to nobody
	since    []byte                    // what it has sent since then, as long as that may be a command
	last     lastOctets                // of the client's

	mends  bool         // something had to be mended: more will have to be
	mended *wire.Buffer // what mended pieces are made in; nil until then
}

// room is for a mended piece: large once one has been seen.
func (m *transfer) room() []byte {
	if m.mended == nil && m.mends {
		m.mended = wire.GetBuffer()
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
		src := s.client.Buffered()
		if m.text.Changes() { // to something as long again
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
			if m.stop() || s.server.Spoke() {
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
	m.stop()
	m.forward, m.watches, m.outcome = false, false, vocabulary.MessageRefused
	s.closeServer()
	return nil
}

// more waits for more of the message, and for an answer before its end.
func (m *transfer) more() error {
	s := m.s
	if m.dropped > maxDiscarded {
		return m.overrun()
	}
	if m.given {
		m.held = m.asks() || s.draining.Load()
	}
	m.spare()
	s.client.Large = m.octets > 0 // a short message fits the small buffer
	err := m.fill(m.octets)
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

// lastOctets are the last four of a text, zero where it has not so many.
type lastOctets [4]byte

func (l *lastOctets) add(more []byte) {
	more = more[max(0, len(more)-len(l)):]
	n := copy(l[:], l[len(more):])
	copy(l[n:], more)
}

// lfEnd reports whether a message that has not ended has its end where a reader that
// ends lines at LF looks for it. The client waits for an answer then.
func (l *lastOctets) lfEnd() bool {
	return string(l[1:]) == "\n.\n" || string(l[:]) == "\n.\r\n"
}

// errLFEnd is why a client waited in vain for the answer to its message.
var errLFEnd = errors.New("the last line of the message is a dot and LF alone; with lf_ends it would end the message")

// give gives the client, which has paused, the answer that is held for the end of
// its message: it may be waiting for that. What it sends up to that end is dropped,
// unless it is a command, after which the client waits once more.
func (m *transfer) give() error {
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

// maxCommand is the longest command (RFC 5321, 4.5.3.1.4).
const maxCommand = 512

// asks reports whether a client that has got its answer before the end of its
// message has sent one command since, rather than more of the message.
func (m *transfer) asks() bool {
	if len(m.since) < 6 || len(m.since) > maxCommand || bytes.IndexByte(m.since, '\n') != len(m.since)-1 {
		return false
	}
	switch strings.ToUpper(string(m.since[:4])) {
	case "RSET", "QUIT", "NOOP", "MAIL":
		return true
	}
	return false
}

// overrun ends a session whose client goes on sending a message that nobody takes.
// The client gets now what it would get at the message's end, and the session's
// outcome says who is to blame: not the client, which cannot know.
func (m *transfer) overrun() error {
	s := m.s
	m.report(m.outcome)
	s.trouble(errOverrun)
	if !m.given {
		s.dialogue.MessageEnd(m.octets)
	}
	s.flushClient()
	return s.failure()
}

// errOverrun is why a client is not read any more.
var errOverrun = fmt.Errorf("the client continued with over %d octets that nobody accepts", maxDiscarded)

// report reports the message, once, if the outcome is not up to the answer to its
// final dot.
func (m *transfer) report(outcome vocabulary.MessageOutcome) {
	m.stop()
	if !m.reported {
		m.reported = true
		m.s.sum.message(m.octets)
		m.s.messageOutcome(outcome)
	}
}

// end gives everything back.
func (m *transfer) end() {
	m.stop()
	m.spare()
}

// spare gives back what nothing is in while the client is waited for.
func (m *transfer) spare() {
	if m.mended != nil {
		wire.PutBuffer(m.mended)
		m.mended = nil
	}
}

// writeFailed looks for the reason that the server gave before it went.
func (m *transfer) writeFailed(err error) error {
	return m.answered(m.reasonFor(err))
}

// answered is the server's answer, or its loss, before the message's end: from
// here on nothing more is written to it, unless it has said nothing that counts. A
// refusal, or the news of the loss, is held for the end of the message, or for a pause of the client.
func (m *transfer) answered(err error) error {
	s := m.s
	var raw []byte
	if err == nil {
		if s.saidNothing() {
			return nil
		}
		if raw, err = s.readReply(min(lastWords, s.route.Timeouts.reply())); err == errDropped {
			return nil
		}
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
	case isTimeout(err):
		s.trouble(err)
		s.failed(vocabulary.ServerTimeout)
		s.dialogue.MessageLost()
	default:
		s.trouble(err)
		s.failed(vocabulary.ServerLost)
		s.dialogue.MessageLost()
	}
	s.closeServer()
	if s.dialogue.Next(false) == rewrite.End {
		m.report(m.outcome)
		return s.end()
	}
	return nil
}

// lastWords is how long a server that fails in the middle of a message is
// waited for to say why.
const lastWords = 5 * time.Second
