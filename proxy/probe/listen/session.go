package listen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"

	"smtpshim/proxy/tlspolicy"
	"smtpshim/rewrite"
)

// A session is one connection of a client that is examined.
type session struct {
	*wire
	of   *Listener
	form *form
	is   traits // of the form, and of the one in which the client delivers messages

	spoke   bool // the client has sent something
	through bool
	ended   string  // how the session has ended
	odd     bool    // the last reply differs from that of a modern server
	lost    bool    // the client has lost track of the dialogue: what it sends now shows nothing
	knew    history // what earlier sessions of the client have shown
	seen    history
	weak    tlspolicy.Weaknesses // weaknesses that its TLS needs
	cbc     bool                 // its TLS needs legacy suites

	findings []noted
	can      []string
	refused  map[rewrite.Verb][]noted // findings about a refused command that was not repeated since

	last       string // what was answered last
	hello      rewrite.Verb
	secure     bool     // inside TLS
	introduced bool     // EHLO or HELO was accepted, inside TLS if there is TLS
	saysAUTH   bool     // lines may be secret because the client has sent AUTH
	offered    []string // mechanisms that were offered
	mail       *mail
	commands   int
}

// A mail is the state of a transaction.
type mail struct {
	body8, utf8 bool // BODY=8BITMIME or more, SMTPUTF8
	rcpt        int
	text        *text // the text of a message by BDAT
}

// Values of last that are not commands.
const (
	greeting  = "the greeting"
	handshake = "the handshake"
	endOfText = "the message"
)

// maxCommands limits a session, and maxFindings what is recorded of it.
const (
	maxCommands = 500
	maxFindings = 100
)

func newSession(l *Listener, conn net.Conn, c *Caller) *session {
	f := c.form()
	return &session{wire: newWire(conn, l.timeout()), of: l, form: f, is: f.traits | c.base, knew: c.seen}
}

// errOver ends a session to which nothing remains to be said.
var errOver = errors.New("the session is over")

// run handles the session to its end.
func (s *session) run() {
	defer func() {
		s.conn.Close()
		for _, list := range s.refused {
			s.findings = append(s.findings, list...)
		}
	}()
	err := s.open()
	for err == nil {
		if s.commands++; s.commands > maxCommands {
			s.ended = fmt.Sprintf("it was stopped: it had sent %d commands", maxCommands)
			s.say("421 4.7.0 too many commands\r\n")
			return
		}
		err = s.next()
	}
	if s.ended == "" {
		s.ended = s.ending(err)
	}
}

// ending describes how an error has ended the session.
func (s *session) ending(err error) string {
	behind := "before the greeting"
	switch s.last {
	case "":
	case greeting, handshake:
		behind = "after " + s.last
	default:
		behind = "after the reply to " + s.last
	}
	netErr, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, errTooMuch):
		return err.Error()
	case errors.Is(err, os.ErrDeadlineExceeded), isNet && netErr.Timeout():
		return fmt.Sprintf("it was silent for %s %s", s.timeout, behind)
	case errors.Is(err, net.ErrClosed):
		return "it was ended here"
	}
	if s.spoke && !s.lost && s.last != "QUIT" {
		s.found(noQUIT, "~ hung up "+behind)
	}
	return "it hung up " + behind
}

// found records a finding once. It ignores it if the client has lost track of the
// dialogue.
func (s *session) found(r row, seen ...string) {
	seen = slices.DeleteFunc(seen, func(line string) bool { return line == "" })
	if s.lost || r.name == "" || s.hasFound(r.name) || len(s.findings) >= maxFindings {
		return
	}
	s.findings = append(s.findings, noted{r.finding(seen), r})
}

func (s *session) hasFound(name string) bool {
	return slices.ContainsFunc(s.findings, func(f noted) bool { return f.name == name })
}

// shows records something that the client supports.
func (s *session) shows(format string, args ...any) {
	if what := fmt.Sprintf(format, args...); !slices.Contains(s.can, what) && len(s.can) < maxCan && !s.lost {
		s.can = append(s.can, what)
	}
}

// open greets the client, which may speak first.
func (s *session) open() error {
	if s.speaks(s.of.pause("")) {
		s.spoke = true
		octets, _ := s.r.Peek(s.r.Buffered())
		switch {
		case rewrite.IsTLS(octets) && s.of.TLS != nil:
			s.found(earlyTLS, "~ a TLS handshake before the greeting")
			if err := s.handshake(); err != nil {
				return err
			}
		case rewrite.IsTLS(octets):
			s.found(earlyTLS, "~ a TLS handshake before the greeting")
			s.ended = "it began TLS, for which there is no certificate here"
			return errOver
		default:
			first, _, _ := bytes.Cut(octets, []byte("\n"))
			s.found(earlyTalk, s.shown(bytes.TrimRight(first, "\r")), "~ before the greeting")
		}
	}
	word := "ESMTP "
	if s.is&noESMTP != 0 {
		word = ""
	}
	return s.answer(greeting, oneLineGreeting, "220", s.of.Hostname+" "+word+"smtpshim, which examines clients and delivers nothing", "")
}

// answer sends a reply. If the form has two lines, there is a pause between them, unless
// early is zero. A client that speaks in the pause only reads one line of a reply. From
// then on it is one reply behind and might take the positive reply to a command for the
// reply to its message, so answer ends the session.
func (s *session) answer(to string, early row, code, text string, seen string) error {
	s.last = to
	s.odd = to == greeting && s.is&noESMTP != 0
	switch {
	case s.is&noText != 0 && code != "220" && code != "354":
		s.odd = true
		return s.say(code + " \r\n")
	case s.is&twoLines == 0 || early.name == "" || s.r.Buffered() > 0:
		return s.say(code + " " + text + "\r\n")
	}
	s.odd = true
	if err := s.say(code + "-" + text + "\r\n"); err != nil {
		return err
	}
	if s.speaks(s.of.pause(to)) {
		s.spoke = true
		s.found(early, seen, "S: "+code+"-"+text, "~ the client goes on before the last line")
		s.lost = true
		s.ended = "it was ended here: the client has read one line of two"
		s.say("421 4.3.2 read both lines of a reply\r\n")
		return errOver
	}
	return s.say(code + " second line of two\r\n")
}

// refuse sends a negative reply.
func (s *session) refuse(to, text string) error {
	s.last, s.odd = to, false
	return s.say(text + "\r\n")
}

// next handles one command.
func (s *session) next() error {
	if s.last == greeting {
		switch octets, err := s.peek(); {
		case err != nil:
			return err
		case rewrite.IsTLS(octets):
			s.spoke, s.seen.tls = true, true
			s.found(lateTLS, "~ a TLS handshake after the greeting")
			s.ended = "it began TLS where EHLO was due"
			return errOver
		}
	}
	l, err := s.line()
	if len(l.text) > 0 {
		s.spoke = true
	}
	if err != nil {
		return err
	}
	said, known := s.shown(l.text), len(s.findings)
	s.judgeLine(l, said)
	if s.ended != "" {
		return errOver
	}
	verb := rewrite.ParseVerb(l.text)
	s.judgeAhead(verb, said)
	if s.last == endOfText && verb == rewrite.VerbOther && s.r.Buffered() > 0 {
		s.found(falseEnd, "~ the end of a message", fmt.Sprintf("~ a line of %d octets that is no command", len(l.text)))
		s.lost = true
	}
	if s.of.Strict && refusable.Has(verb) {
		return s.strictly(verb, l.text, said, known)
	}
	return s.command(verb, l.text, said)
}

// command answers one command.
func (s *session) command(verb rewrite.Verb, text []byte, said string) error {
	switch verb {
	case rewrite.VerbEHLO, rewrite.VerbHELO, rewrite.VerbLHLO:
		return s.helloCommand(verb, text, said)
	case rewrite.VerbSTARTTLS:
		return s.startTLS(said)
	case rewrite.VerbAUTH, rewrite.VerbXAUTH, rewrite.VerbXEXPS:
		return s.auth(verb, text, said)
	case rewrite.VerbMAIL:
		return s.mailCommand(text, said)
	case rewrite.VerbRCPT:
		return s.rcpt(text, said)
	case rewrite.VerbDATA:
		return s.data(said)
	case rewrite.VerbBDAT:
		return s.bdat(text, said)
	case rewrite.VerbRSET:
		s.mail = nil
		return s.answer("RSET", oneLineReader, "250", "2.0.0 ok", said)
	case rewrite.VerbNOOP:
		return s.answer("NOOP", row{}, "250", "2.0.0 ok", said)
	case rewrite.VerbVRFY:
		return s.answer("VRFY", row{}, "252", "2.5.0 nobody is looked up here", said)
	case rewrite.VerbHELP:
		return s.answer("HELP", row{}, "214", "2.0.0 a test; nothing is delivered", said)
	case rewrite.VerbQUIT:
		s.last = "QUIT"
		s.say("221 2.0.0 bye\r\n")
		s.ended = "it sent QUIT"
		return errOver
	}
	if len(strings.TrimSpace(string(text))) == 0 {
		return nil // a blank line: nobody waits for a reply
	}
	s.found(unknown, said)
	return s.refuse("an unknown command", "500 5.5.1 unknown command")
}

func (s *session) helloCommand(verb rewrite.Verb, text []byte, said string) error {
	s.judgeHello(verb, strings.TrimLeft(string(text), blanks)[len("EHLO"):], said)
	if verb != rewrite.VerbHELO && s.is&noEHLO != 0 {
		err := s.refuse("EHLO", "500 5.5.1 unknown command")
		s.odd = true
		return err
	}
	s.hello, s.introduced, s.mail = verb, true, nil
	s.shows("%s", verb)
	if verb == rewrite.VerbHELO {
		return s.answer("HELO", oneLineReader, "250", s.of.Hostname, said)
	}
	s.last, s.odd = verb.String(), false
	lines := append([]string{s.of.Hostname}, s.keywords()...)
	if s.is&oneLineHello != 0 {
		lines = lines[:1]
	}
	var reply strings.Builder
	for i, line := range lines {
		separator := "-"
		if i == len(lines)-1 {
			separator = " "
		}
		reply.WriteString("250" + separator + line + "\r\n")
	}
	return s.say(reply.String())
}

// keywords returns the keywords that the form offers.
func (s *session) keywords() []string {
	list := []string{"SIZE 35882577", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8", "CHUNKING"}
	if s.is&twoLines == 0 { // with two lines, a client that pipelines looks like one that reads one line
		list = append(list, "PIPELINING")
	}
	if s.of.TLS != nil && !s.secure && s.is&noTLS == 0 {
		list = append(list, "STARTTLS")
	}
	s.offered = []string{"PLAIN", "LOGIN"}
	if s.is&oldNames != 0 || s.of.Strict {
		s.offered = append(s.offered, "NTLM")
	}
	if s.is&oldNames != 0 {
		list = append(list, "XAUTH NTLM", "XAUTH=NTLM", "AUTH=LOGIN")
	}
	return append(list, "AUTH "+strings.Join(s.offered, " "))
}

// offers reports whether the client was offered extensions.
func (s *session) offers() bool {
	return s.introduced && s.hello != rewrite.VerbHELO && s.is&oneLineHello == 0
}

func (s *session) startTLS(said string) error {
	switch {
	case s.secure:
		s.found(badOrder, said)
		return s.refuse("STARTTLS", "503 5.5.1 TLS is up")
	case s.of.TLS == nil || s.is&noTLS != 0:
		return s.refuse("STARTTLS", "502 5.5.1 there is no TLS here")
	}
	s.shows("STARTTLS")
	s.seen.tls = true
	s.last = "STARTTLS"
	if n := s.r.Buffered(); n > 0 {
		s.found(inTLSClear, said, fmt.Sprintf("~ %d octets before the 220", n))
		s.r.Discard(n)
	}
	if err := s.say("220 2.0.0 go ahead\r\n"); err != nil {
		return err
	}
	return s.handshake()
}

// handshake begins TLS. Octets of the handshake that were already read are passed on.
func (s *session) handshake() error {
	s.seen.tls = true
	ctx, cancel := context.WithDeadline(context.Background(), s.within(s.timeout))
	defer cancel()
	conn, err := s.of.TLS.Handshake(ctx, readAhead{s.conn, io.MultiReader(io.LimitReader(s.r, int64(s.r.Buffered())), s.conn)}, addressOf(s.conn))
	if err != nil {
		s.tlsFailed(err)
		return errOver
	}
	state := conn.ConnectionState()
	s.secure, s.introduced, s.mail, s.last = true, false, nil, handshake
	s.change(conn)
	name := fmt.Sprintf("TLS %s with %s", tlspolicy.Version(state.Version), tlspolicy.Suite(state.CipherSuite))
	s.shows("%s", name)
	weak, legacy := tlspolicy.Needs(state.Version, state.CipherSuite)
	s.weak, s.cbc = s.weak|weak, s.cbc || legacy
	if weak != 0 {
		old := oldTLS
		old.means += name
		old.setting = "client_tls.weak = [{allow = " + array(namesOf(weak)) + "}]"
		s.found(old, "~ "+name)
	} else if legacy {
		old := cbcTLS
		old.means += name
		s.found(old, "~ "+name)
	}
	return nil
}

// tlsFailed records why a handshake failed.
func (s *session) tlsFailed(err error) {
	reason, text := tlspolicy.Explain(err)
	s.ended = "its TLS handshake failed: " + text
	if reason == "certificate-refused" {
		s.found(distrust, "~ "+text)
		return
	}
	fails := tlsFails
	fails.means += text
	if reason == "closed" || reason == "timeout" || reason == "other" || reason == "garbage" {
		fails.entry = ""
	}
	s.found(fails, "~ "+text)
}

// A readAhead is a connection of which some octets were already read.
type readAhead struct {
	net.Conn
	r io.Reader
}

// Read implements net.Conn.
func (c readAhead) Read(b []byte) (int, error) { return c.r.Read(b) }
