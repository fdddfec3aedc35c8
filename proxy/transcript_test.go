package proxy_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/testdata"
	"smtpshim/rewrite/transcript"
)

// TestTheProxyDoesWhatTheTranscriptsSay plays every dialogue of rewrite's
// testdata through a proxy: a client that says each C: and C- of the file and
// must hear each S: and S+ and nothing else, and a server that is its mirror
// image, over TCP, with TLS where the file has it.
func TestTheProxyDoesWhatTheTranscriptsSay(t *testing.T) {
	all, err := testdata.All()
	if err != nil {
		t.Fatal(err)
	}
	certificate, pool, err := smtptest.Certificate("mail.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for title, f := range all {
		t.Run(title, func(t *testing.T) {
			if reason := unplayable[title]; reason != "" {
				t.Skip(reason)
			}
			t.Parallel()
			playOver(t, &stage{f, certificate, pool})
		})
	}
}

// unplayable are the dialogues that need more than a file can say.
var unplayable = map[string]string{
	"bdat-to-data":                      asText,
	"bdat-to-data-reset":                asText,
	"bdat-to-data-refused":              asText,
	"lmtp-bdat-to-data":                 asText,
	"policy-xclient-accept-afresh":      asHeader,
	"policy-xclient-accept-afresh-lost": asHeader,
	"policy-reply-early-yes":            "an answer before the end of a message is looked for when more of it comes, and this client sends nothing",
}

const asHeader = "the server gets a PROXY header; see xclient_test.go"

const asText = "the server gets other octets than the client sends; see chunk_test.go"

// A stage is what a file is played with.
type stage struct {
	*transcript.File
	certificate tls.Certificate
	pool        *x509.CertPool
}

// playTimeout bounds each read and each write of a peer.
const playTimeout = time.Minute

func playOver(t *testing.T, s *stage) { s.playWith(t, func(*proxy.Route) {}) }

// playWith plays the file through a proxy whose route was changed.
func (s *stage) playWith(t *testing.T, change func(*proxy.Route)) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	p := &proxy.Proxy{Logger: slog.New(slog.DiscardHandler)}
	defer p.Close()
	r := s.route(t, listener.Addr().String())
	change(r)
	if err := p.Apply([]*proxy.Route{r}); err != nil {
		t.Fatal(err)
	}

	clientDone, serverDone := make(chan struct{}), make(chan error, 1)
	go func() { serverDone <- s.serve(listener, clientDone) }()
	err = s.visit(p.Addr(anyPort).String())
	close(clientDone)
	if err := errors.Join(err, <-serverDone); err != nil {
		t.Error(err)
	}
}

const anyPort = "127.0.0.1:0"

// route is the file's settings.
func (s *stage) route(t *testing.T, server string) *proxy.Route {
	names := s.Rules
	if s.Settings["chunking"] == "hide" {
		names = append(slices.Clone(names), "chunking")
	}
	rules, errs := heal.Compile(names, s.Options)
	if errs != nil {
		t.Fatal(errs)
	}
	r := &proxy.Route{
		Name: "test", Listen: []string{anyPort}, Servers: []string{server}, Rules: rules,
		ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	r.ClientTLS.Acceptor = proxy.AcceptWith(&tls.Config{Certificates: []tls.Certificate{s.certificate}})
	r.ServerTLS.Dialer = proxy.DialWith(&tls.Config{RootCAs: s.pool, ServerName: "mail.example.com"})
	r.ServerTLS.Verified = s.Settings["verified"] == "yes"
	if v := s.Settings["xclient_from"]; v != "" {
		r.XCLIENTFrom = []netip.Prefix{netip.MustParsePrefix(v)}
	}
	for key, limit := range map[string]any{
		"idle": &r.Limits.Idle, "recipients": &r.Limits.Recipients, "messages": &r.Limits.Messages, "message_size": &r.Limits.MessageSize,
	} {
		if v := s.Settings[key]; v != "" {
			if _, err := fmt.Sscan(v, limit); err != nil {
				t.Fatal(err)
			}
		}
	}
	for key, mode := range map[string]interface{ UnmarshalText([]byte) error }{
		"client_tls": &r.ClientTLS.Mode, "server_tls": &r.ServerTLS.Mode, "xclient": &r.XCLIENTSend, "auth_in_clear": &r.ServerTLS.ClearLogin,
	} {
		if v := s.Settings[key]; v != "" {
			if err := mode.UnmarshalText([]byte(v)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return r
}

// visit is the client.
func (s *stage) visit(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := smtptest.Play(conn, playTimeout, s.clientSteps()...); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return nil
}

// A script is a list of steps in the making. What is sent without hearing
// anything between goes out in one write.
type script struct {
	steps   []smtptest.Step
	sending string
}

func (s *script) send(octets string) { s.sending += octets }

func (s *script) add(steps ...smtptest.Step) {
	if s.sending != "" {
		s.steps = append(s.steps, smtptest.Send(s.sending))
		s.sending = ""
	}
	s.steps = append(s.steps, steps...)
}

func (s *stage) clientSteps() []smtptest.Step {
	tlsStep := smtptest.ClientTLS(&tls.Config{RootCAs: s.pool, ServerName: "mail.example.com"})
	var c script
	c.add(smtptest.Send(s.header()))
	if s.Settings["client_tls"] == "implicit" && s.Settings["begins"] != "in clear" {
		c.add(tlsStep)
	}
	last := ""
	for _, l := range s.clientLines() {
		switch {
		case l.Side == transcript.Client:
			c.send(l.Text + "\r\n")
		case l.Side == transcript.Server:
			last = l.Text
			c.add(smtptest.Expect(l.Text))
		case l.Text == "client TLS":
			c.add(tlsStep)
		default:
			c.send(octetsOf(l.Text))
		}
	}
	c.add()
	if strings.HasPrefix(last, "221") || strings.HasPrefix(last, "421") {
		c.add(smtptest.ExpectEnd())
	}
	return c.steps
}

// clientLines are the lines that concern the client: what it says, what it
// hears, and what happens to it. If it pipelines, it goes on speaking before
// it hears.
func (s *stage) clientLines() []transcript.Line {
	var lines []transcript.Line
	for _, l := range s.Dialogue {
		said := l.Side == transcript.Client && l.Mark != transcript.Added
		heard := l.Side == transcript.Server && l.Mark != transcript.Removed
		if l.Side == transcript.Server && l.Mark == transcript.Added {
			l.Text = strings.ReplaceAll(l.Text, "relay.example.com", hostname())
		}
		if said || heard || l.Side == 0 && (l.Text == "client TLS" || octetsOf(l.Text) != "") {
			lines = append(lines, l)
		}
	}
	for i, l := range lines {
		if l.Side != transcript.Client || !s.goesOn(l.Text) {
			continue
		}
		for j := i + 1; j < len(lines); j++ {
			if lines[j].Side == transcript.Client {
				next := lines[j]
				copy(lines[i+2:j+1], lines[i+1:j])
				lines[i+1] = next
				break
			}
		}
	}
	return lines
}

// goesOn says that the client does not wait for the answer to this command.
func (s *stage) goesOn(command string) bool {
	verb, _, _ := strings.Cut(command, " ")
	switch s.Settings["pipelines"] {
	case "everything":
		return true
	case "groups":
		return verb == "MAIL" || verb == "RCPT" || verb == "RSET"
	}
	return false
}

// header is the PROXY header that gives the client its address.
func (s *stage) header() string {
	client := s.Settings["client"]
	if client == "" {
		client = "192.0.2.7"
	}
	if strings.Contains(client, ":") {
		return "PROXY TCP6 " + client + " ::1 49152 25\r\n"
	}
	return "PROXY TCP4 " + client + " 127.0.0.1 49152 25\r\n"
}

// hostname is what the proxy calls itself.
func hostname() string {
	if name, err := os.Hostname(); err == nil && name != "" {
		return name
	}
	return "localhost"
}

// octetsOf are the octets of a message or a chunk; "" for any other event.
// Both would do harm if they were taken for commands.
func octetsOf(event string) string {
	n := 0
	if _, err := fmt.Sscanf(event, "chunk %d bytes", &n); err == nil {
		return strings.Repeat("XYZZY\r\n", n/7+1)[:n]
	}
	const end = "\r\n.\r\n"
	if _, err := fmt.Sscanf(event, "message %d bytes", &n); err == nil && n >= len(end) {
		return strings.Repeat("XYZZY\r\n", n/7+1)[:n-len(end)] + end
	}
	return ""
}

// serve is the server: one connection after the other, as in the file.
func (s *stage) serve(listener net.Listener, clientDone <-chan struct{}) error {
	connections := s.serverSteps(clientDone)
	for i, steps := range connections {
		listener.(*net.TCPListener).SetDeadline(time.Now().Add(playTimeout))
		conn, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("server: connection %d of %d: %w", i+1, len(connections), err)
		}
		defer conn.Close()
		if i == len(connections)-1 {
			listener.Close()
		}
		if err := smtptest.Play(conn, playTimeout, steps...); err != nil {
			return fmt.Errorf("server: connection %d: %w", i+1, err)
		}
	}
	return nil
}

// serverSteps are what the server does on each connection. At the end of each
// it must have heard nothing that is not in the file.
func (s *stage) serverSteps(clientDone <-chan struct{}) [][]smtptest.Step {
	tlsStep := smtptest.ServerTLS(&tls.Config{Certificates: []tls.Certificate{s.certificate}})
	var connections [][]smtptest.Step
	var c script
	open := false
	begin := func() {
		c, open = script{}, true
		if s.Settings["server_tls"] == "implicit" {
			c.add(tlsStep)
		}
	}
	finish := func(steps ...smtptest.Step) {
		c.add(steps...)
		connections = append(connections, c.steps)
		open = false
	}
	begin()
	refused, swallowed := false, false // the message; the chunk
	for _, l := range s.Dialogue {
		switch {
		case l.Text == "server again":
			if open {
				finish(smtptest.ExpectEnd())
			}
			begin()
		case l.Text == "server lost":
			if !open {
				begin()
			}
			finish(smtptest.Close())
		case l.Text == "server TLS failed":
			c.add(smtptest.ExpectOctets("\x16")) // a TLS record of a handshake
			c.send("this is no handshake\r\n")
			finish(smtptest.Close())
		case l.Text == "server TLS":
			c.add(tlsStep)
		case l.Side == transcript.Client && l.Mark != transcript.Removed:
			if len(s.Options) == 0 { // else the name may be an option's
				l.Text = strings.ReplaceAll(l.Text, "relay.example.com", hostname())
			}
			c.add(smtptest.Expect(l.Text))
			refused, swallowed = false, false
		case l.Side == transcript.Client:
			swallowed = true
		case l.Side == transcript.Server && l.Mark != transcript.Added:
			refused = l.Mark == transcript.Removed && !strings.HasPrefix(l.Text, "354")
			c.send(l.Text + "\r\n")
		case strings.HasPrefix(l.Text, "message ") && !refused, strings.HasPrefix(l.Text, "chunk ") && !swallowed:
			c.add(smtptest.ExpectOctets(octetsOf(l.Text)))
		}
	}
	if open {
		finish(smtptest.Pause(func() { <-clientDone }), smtptest.ExpectEnd())
	}
	return connections
}
