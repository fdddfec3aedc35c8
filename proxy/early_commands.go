package proxy

import (
	"bytes"
	"slices"
	"time"

	"smtpshim/rewrite/oneof"
)

// EarlyCommands says what becomes of commands that a client sends before it may: before
// the server's greeting, or in a group where the server does not offer PIPELINING.
// Servers tell senders of spam by that.
type EarlyCommands uint8

const (
	EarlyHeld  EarlyCommands = iota // the server gets each once it has answered what came before
	EarlyShown                      // the server notices that the client does not wait
)

var earlyCommands = []string{"hold", "show"}

func (e EarlyCommands) String() string { return earlyCommands[e] }

// UnmarshalText takes "hold" and "show".
func (e *EarlyCommands) UnmarshalText(text []byte) error {
	i, err := oneof.Index(string(text), earlyCommands)
	*e = EarlyCommands(i)
	return err
}

// earlyLook is how often a client is looked at that has not been greeted.
const earlyLook = 50 * time.Millisecond

// greetingShown waits for the server's greeting. If the client speaks before that, the
// server gets a NOOP at once, so that it sees what it would see of the client: what the
// client has sent is not passed on unread. The answer to NOOP goes to nobody, unless it
// ends the session: then it takes the place of the greeting. A server that answers
// NOOP and does not greet is taken to have greeted: see endGreeting.
func (s *session) greetingShown(name string) ([]byte, error) {
	said, by := false, s.now.Add(s.route.Timeouts.greeting())
	for {
		if !said && s.route.mayCarryTLS() && s.clientBeginsTLS() {
			return s.greetingOrTLS(name)
		}
		if !said && s.speaksFirst() {
			said, s.early = true, true
			if err := s.serverWrite([]byte("NOOP\r\n")); err != nil {
				said = false // the greeting says why
			}
		}
		if said {
			s.endGreeting(by)
		}
		wait := by.Sub(s.now)
		if !said {
			wait = min(wait, earlyLook)
		}
		raw, err := s.readReply(wait)
		switch {
		case err != nil && isTimeout(err) && s.now.Before(by):
			continue
		case err != nil || !said:
			return raw, err
		}
		return s.afterNOOP(slices.Clone(raw))
	}
}

// endGreeting waits until the server has sent the last line of its greeting, or has
// begun to answer NOOP with a yes. In the second case it ends the greeting where the
// answer begins, or puts one in its place if there is none: postscreen sends no more
// than a 220- line, or nothing, to a client that it fails for speaking first, and goes
// on with the answer (postscreen_greet_action = enforce). The next read says why
// nothing has come.
func (s *session) endGreeting(by time.Time) {
	for {
		b, n := s.server.Buffered(), 0
		for bytes.HasPrefix(b[n:], []byte("220-")) {
			end := bytes.IndexByte(b[n:], '\n')
			if end < 0 {
				break
			}
			n += end + 1
		}
		next := b[n:]
		switch {
		case len(next) < len("250 ") || bytes.HasPrefix(next, []byte("220-")):
		case next[0] != '2' || bytes.HasPrefix(next, []byte("22")):
			return
		case n == 0:
			s.server.Replace(0, []byte("220 "+s.route.policy.Hostname+"\r\n"))
			return
		default:
			teaser := bytes.Clone(b[:n])
			teaser[bytes.LastIndexByte(teaser[:n-1], '\n')+len("220-")] = ' '
			s.server.Replace(n, teaser)
			return
		}
		if s.fill(s.server, by) != nil {
			return
		}
	}
}

// afterNOOP returns the greeting, once NOOP is answered, or the answer if the server
// refuses the session by it. A server that has refused the session by its greeting waits
// for QUIT (RFC 5321, 3.1), and so answers NOOP, or hangs up.
func (s *session) afterNOOP(greeting []byte) ([]byte, error) {
	refused, wait := greeting[0] != '2', s.route.Timeouts.reply()
	if refused {
		wait = min(wait, lastWords)
	}
	s.server.Consume(len(greeting))
	raw, err := s.readReply(wait)
	switch {
	case refused && err != nil:
		raw = nil
	case err != nil:
		return nil, err
	case !refused && (bytes.HasPrefix(raw, []byte("421")) || bytes.HasPrefix(raw, []byte("554"))):
		return raw, nil
	}
	s.server.Replace(len(raw), greeting)
	return s.server.Buffered()[:len(greeting)], nil
}

// speaksFirst reports, without waiting, whether the client has sent something before
// any server has greeted it. A TLS handshake is no command.
func (s *session) speaksFirst() bool {
	const handshake = 22 // RFC 8446, 5.1
	if s.serverName != "" {
		return false
	}
	if b := s.client.Buffered(); len(b) > 0 {
		return b[0] != handshake
	}
	first := s.client.Peek(time.Time{})
	return len(first) > 0 && first[0] != handshake
}
