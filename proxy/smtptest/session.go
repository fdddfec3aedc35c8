package smtptest

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A session is one connection of a server.
type session struct {
	Server
	running *Running
	w       *wire

	hello   string // the name in the client's hello
	said    bool   // EHLO or HELO was sent
	greeted bool   // and it was accepted
	secure  bool   // TLS is up
	forgets bool   // the server has forgotten that TLS is in use
	mail    bool   // a transaction is open

	authenticated bool
	certified     bool // the client has shown a certificate

	message Message
}

// errHungUp ends a session.
var errHungUp = errors.New("the session is over")

// serve returns when the client or the server ends the session.
func (s *session) serve() error {
	var greeting []string
	for _, t := range s.Greeting {
		greeting = append(greeting, t.fill(s.names()...))
	}
	if err := s.w.say(greeting...); err != nil {
		return err
	}
	for {
		line, err := s.w.hear()
		if err != nil {
			return err
		}
		if err := s.command(line); err != nil {
			return err
		}
	}
}

// address returns the client's address without its port.
func (s *session) address() string {
	address := s.w.conn.RemoteAddr().String()
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

func (s *session) names(more ...string) []string {
	return append(more, "{host}", s.Host, "{client}", s.address(), "{hello}", s.hello)
}

func (s *session) say(t Text, more ...string) error {
	return s.w.say(t.fill(s.names(more...)...))
}

func (s *session) command(line string) error {
	verb, rest := line, ""
	if i := strings.IndexAny(line, " ="); i >= 0 {
		verb, rest = line[:i], strings.TrimSpace(line[i:])
	}
	switch verb = strings.ToUpper(verb); verb {
	case "HELO", "EHLO":
		return s.helloCommand(verb, rest)
	case "STARTTLS":
		return s.startTLS()
	case "AUTH", "XAUTH":
		return s.authenticate(line)
	case "MAIL":
		return s.mailCommand(rest)
	case "RCPT":
		return s.rcpt(rest)
	case "DATA":
		return s.data()
	case "BDAT":
		return s.bdat(rest)
	case "RSET":
		s.reset()
		return s.say(s.Replies.Reset)
	case "NOOP":
		return s.say(s.Replies.Noop)
	case "QUIT":
		s.say(s.Replies.Quit)
		return errHungUp
	}
	if reply, ok := s.Verbs[verb]; ok {
		return s.say(reply)
	}
	return s.unknown(s.Replies.Unknown)
}

// unknown answers an unknown command.
func (s *session) unknown(reply Text) error {
	if err := s.say(reply); err != nil || !s.Closes {
		return err
	}
	return errHungUp
}

func (s *session) reset() {
	s.mail = false
	s.message = Message{}
}

func (s *session) helloCommand(verb, name string) error {
	if verb == "EHLO" && s.HangsUp {
		return errHungUp
	}
	switch refusal, ok := s.Verbs["EHLO"]; {
	case s.LateHello && !s.said:
		s.said = true
		return s.say(s.Replies.Unknown)
	case verb == "EHLO" && s.HidesEhlo:
		return s.say(s.Replies.Noop)
	case verb == "EHLO" && len(s.Ehlo) == 0 && ok:
		return s.unknown(refusal)
	case verb == "EHLO" && len(s.Ehlo) == 0:
		return s.unknown(s.Replies.Unknown)
	}
	if s.greeted && s.OneHello {
		return s.say(s.Replies.Order)
	}
	if s.RefusesDot && strings.HasSuffix(name, ".") || s.RefusesEmpty && name == "" {
		return s.say(s.Replies.BadHello)
	}
	s.greeted, s.hello = true, name
	s.reset()
	if verb == "HELO" {
		return s.say(s.Replies.Hello)
	}
	if s.Forgets == ForgetsUntilEhlo {
		s.forgets = false
	}
	return s.w.say(s.ehlo(s.secure, s.names()...)...)
}

func (s *session) startTLS() error {
	if s.TLS == nil {
		return s.say(s.Replies.Unknown)
	}
	if s.secure {
		return s.say(s.Replies.Order)
	}
	if err := s.say(s.Replies.StartTLS); err != nil {
		return err
	}
	address := s.address()
	conn := tls.Server(s.w.conn, s.TLS)
	if err := s.w.change(conn, "TLS"); err != nil {
		return err
	}
	conn.SetDeadline(time.Now().Add(s.Timeout))
	if err := conn.Handshake(); err != nil {
		return err
	}
	s.secure, s.greeted, s.certified = true, false, len(conn.ConnectionState().PeerCertificates) > 0
	s.reset()
	switch s.Forgets {
	case ForgetsFirst:
		s.forgets = s.running.firstTLS(address)
	case ForgetsUnresumed:
		s.forgets = !conn.ConnectionState().DidResume
	case ForgetsAlways, ForgetsUntilEhlo:
		s.forgets = true
	}
	return nil
}

// authenticate plays NTLM, whatever its verb is here, or another mechanism.
func (s *session) authenticate(line string) error {
	form, blob := ntlmForm(line)
	if played, err := s.logIn(line); played {
		return err
	}
	if !s.understands(form) || s.AuthSecure && !s.secure {
		return s.say(s.Replies.OtherAuth)
	}
	if blob == "" {
		if err := s.say(s.Replies.Prompt); err != nil {
			return err
		}
		var err error
		if blob, err = s.w.hear(); err != nil {
			return err
		}
	}
	first, err := ntlmParse(blob, 1, ntlmHeader1)
	if err != nil {
		return s.say(s.Replies.Cancelled)
	}
	if err := s.w.say("334 " + ntlmType2(binary.LittleEndian.Uint32(first[12:]))); err != nil {
		return err
	}
	blob, err = s.w.hear()
	if err != nil {
		return err
	}
	right, seal, err := ntlmCheck(blob, s.Password)
	if err != nil {
		return s.say(s.Replies.Cancelled)
	}
	if !right {
		return s.say(s.Replies.Denied)
	}
	s.authenticated = true
	if err := s.say(s.Replies.Authenticated); err != nil {
		return err
	}
	if s.Seals && seal {
		return s.w.change(&sealed{Conn: s.w.conn}, "sealed")
	}
	return nil
}

// ntlmForm returns the form of a command, and its first message if it has one.
func ntlmForm(line string) (form, blob string) {
	verb, rest, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	mechanism, blob, _ := strings.Cut(rest, " ")
	if verb == "XAUTH=NTLM" {
		mechanism, blob = "", rest
	}
	if blob == "" && mechanism != "" {
		if _, err := ntlmParse(mechanism, 1, ntlmHeader1); err == nil {
			mechanism, blob = "", mechanism
		}
	}
	form = verb
	if mechanism != "" {
		form += " " + strings.ToUpper(mechanism)
	}
	if blob != "" {
		form += " {type-1}"
	}
	return form, blob
}

// path returns the text between < and >, and the parameters after it.
func path(rest, prefix string) (address string, parameters []string, ok bool) {
	if len(rest) < len(prefix) || !strings.EqualFold(rest[:len(prefix)], prefix) {
		return "", nil, false
	}
	rest = strings.TrimSpace(rest[len(prefix):])
	end := strings.IndexByte(rest, '>')
	if !strings.HasPrefix(rest, "<") || end < 0 {
		return "", nil, false
	}
	return rest[1:end], strings.Fields(rest[end+1:]), true
}

func (s *session) mailCommand(rest string) error {
	if refusal := s.mayMail(); refusal.Line != "" {
		return s.say(refusal)
	}
	from, parameters, ok := path(rest, "FROM:")
	if refusal := s.refusesPath(rest, "FROM:", parameters, ok); refusal.Line != "" {
		return s.say(refusal)
	}
	if s.mail || s.HidesEhlo && !s.greeted {
		return s.say(s.Replies.Order)
	}
	s.mail = true
	s.message = Message{From: from}
	for _, p := range parameters {
		name, size, _ := strings.Cut(p, "=")
		if strings.EqualFold(name, "SIZE") && s.Replies.MailSize.Line != "" {
			return s.say(s.Replies.MailSize, "{from}", from, "{size}", size)
		}
	}
	return s.say(s.Replies.Mail, "{from}", from)
}

// refusesPath returns the refusal of the argument of MAIL or RCPT; zero: it is accepted.
func (s *session) refusesPath(rest, prefix string, parameters []string, ok bool) Text {
	switch {
	case s.Strict && (!ok || strings.HasPrefix(rest[len(prefix):], " ")):
		return s.Replies.BadPath
	case !ok:
		return s.Replies.Unknown
	case s.Strict && slices.ContainsFunc(parameters, func(p string) bool { return !s.offered(p) }):
		return s.Replies.BadParam
	}
	return Text{}
}

// offered reports whether the EHLO reply has the extension of a parameter. The parameters
// of DSN, and BODY, have other names than their extensions.
func (s *session) offered(parameter string) bool {
	name, _, _ := strings.Cut(strings.ToUpper(parameter), "=")
	switch name {
	case "RET", "ENVID", "NOTIFY", "ORCPT":
		name = "DSN"
	case "BODY":
		name = "8BITMIME"
	}
	return slices.ContainsFunc(s.Ehlo, func(t Text) bool { return offers(t.Line, name) })
}

func (s *session) rcpt(rest string) error {
	to, parameters, ok := path(rest, "TO:")
	if refusal := s.refusesPath(rest, "TO:", parameters, ok); refusal.Line != "" {
		return s.say(refusal)
	}
	if !s.mail {
		return s.say(s.Replies.Order)
	}
	s.message.To = append(s.message.To, to)
	return s.say(s.Replies.Rcpt, "{to}", to)
}

func (s *session) data() error {
	if len(s.message.To) == 0 {
		return s.say(s.Replies.Order)
	}
	var lines []string
	for _, t := range s.Replies.Data {
		lines = append(lines, t.fill(s.names()...))
	}
	if len(lines) > 1 && (s.Gap > 0 || s.GapFunc != nil) {
		if err := s.w.say(lines[0]); err != nil {
			return err
		}
		if s.GapFunc != nil {
			s.GapFunc()
		} else {
			s.w.awaitOctet(s.Gap)
		}
		lines = lines[1:]
	}
	if err := s.w.say(lines...); err != nil {
		return err
	}
	s.w.conn.SetReadDeadline(time.Now().Add(s.Timeout))
	body, err := readMessage(s.w.r)
	if errors.Is(err, errTooLarge) {
		s.reset()
		return s.w.say("552 message too large") // RFC 5321, 4.2.3; not of a product
	}
	if err != nil {
		return err
	}
	if s.LongestLine > 0 && longestLine(body) > s.LongestLine {
		s.reset()
		return s.say(s.Replies.LongLine)
	}
	s.message.Body = body
	if s.CutsAtDot {
		s.message.Body = cutAtDot(body)
	}
	return s.accepted()
}

// longestLine returns the number of octets in the longest line of a message, without its
// line end.
func longestLine(body []byte) (longest int) {
	for line := range bytes.SplitSeq(body, []byte("\r\n")) {
		longest = max(longest, len(line))
	}
	return longest
}

// cutAtDot returns a message up to its first line that begins with a dot.
func cutAtDot(body []byte) []byte {
	if bytes.HasPrefix(body, []byte(".")) {
		return nil
	}
	if i := bytes.Index(body, []byte("\r\n.")); i >= 0 {
		return body[:i+2]
	}
	return body
}

func (s *session) accepted() error {
	m := s.message
	s.reset()
	s.w.note("~", "message "+strconv.Itoa(len(m.Body))+" bytes")
	id := strconv.Itoa(s.running.stored(m)) + "@" + s.Host
	return s.say(s.Replies.Accepted, "{id}", id)
}

// bdat handles one chunk (RFC 3030) if CHUNKING was offered.
func (s *session) bdat(rest string) error {
	if !slices.ContainsFunc(s.Ehlo, func(t Text) bool { return offers(t.Line, "CHUNKING") }) {
		return s.say(s.Replies.Unknown)
	}
	size, last, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(size)
	if err != nil || n < 0 || len(s.message.Body)+n > maxMessage {
		s.say(s.Replies.Unknown)
		return errHungUp // the end of the chunk is not known
	}
	s.w.conn.SetReadDeadline(time.Now().Add(s.Timeout))
	chunk := make([]byte, n)
	if _, err := io.ReadFull(s.w.r, chunk); err != nil {
		return err
	}
	if len(s.message.To) == 0 {
		return s.say(s.Replies.Order)
	}
	s.message.Body = append(s.message.Body, chunk...)
	if strings.EqualFold(last, "LAST") {
		return s.accepted()
	}
	return s.say(s.Replies.Noop)
}
