package proxy

import (
	"bytes"
	"slices"
	"time"

	"smtpshim/rewrite/oneof"
)

// EarlyCommands says what we do with commands that a client sends too early: before the
// server's greeting, or in a group although the server does not offer PIPELINING. Servers
// recognize senders of spam by such commands.
type EarlyCommands uint8

const (
	// With EarlyHeld the server gets such a command only after it has greeted and
	// answered all commands before. It cannot see that the client did not wait.
	EarlyHeld EarlyCommands = iota
	// With EarlyShown the server can see that the client did not wait. If a client in
	// clear sends a command before the greeting, the server gets a NOOP at once. A
	// group of commands is sent on as a group.
	EarlyShown
)

var earlyCommands = []string{"hold", "show"}

func (e EarlyCommands) String() string { return earlyCommands[e] }

// UnmarshalText sets e to the value named text: "hold" for EarlyHeld or "show" for
// EarlyShown. Any other text is an error.
func (e *EarlyCommands) UnmarshalText(text []byte) error {
	i, err := oneof.Index(string(text), earlyCommands)
	*e = EarlyCommands(i)
	return err
}

// earlyLook is how often, before the greeting, we check whether the client has sent
// anything.
const earlyLook = 50 * time.Millisecond

// greetingShown waits for the server's greeting. If the client sends anything before that,
// the server gets a NOOP at once, so that it can see that the client does not wait. The
// client's own octets are not sent on, because nobody has read them yet. The client does
// not get the reply to NOOP, unless that reply ends the session: it then takes the place
// of the greeting. If a server answers NOOP and does not greet, we take it to have
// greeted: see endGreeting.
func (s *session) greetingShown(name string) ([]byte, error) {
	said, by := false, s.now.Add(s.route.Timeouts.greeting())
	for {
		if !said && s.route.mayCarryTLS() && s.clientBeginsTLS() {
			return s.greetingOrTLS(name)
		}
		if !said && s.speaksFirst() {
			said, s.early = true, true
			if err := s.serverWrite([]byte("NOOP\r\n")); err != nil {
				said = false // reading the greeting returns the reason
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

// endGreeting waits for the last line of the server's greeting, or for the beginning of a
// positive reply to NOOP. If the reply to NOOP comes first, endGreeting completes the
// greeting: it makes the last line received the last line of the greeting. If there is no
// line, it inserts a greeting. Postfix needs this (postscreen_greet_action = enforce): to
// a client that speaks first, postscreen sends only a 220- line, or nothing, and then the
// reply to NOOP. If nothing comes, the next read returns the reason.
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

// afterNOOP waits for the reply to NOOP and returns the greeting. If the reply ends the
// session (421 or 554), afterNOOP returns the reply instead. A server that has refused the
// session by its greeting waits for QUIT (RFC 5321, 3.1). It answers NOOP or hangs up;
// afterNOOP then returns the greeting.
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

// speaksFirst reports, without waiting, whether the client has sent anything before any
// server has greeted it. A TLS handshake does not count, because it is no command.
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
