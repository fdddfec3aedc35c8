package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"smtpshim/proxy/header"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

// Time stands still in these tests until everyone waits, so that every wait has
// its exact length.

// day is longer than any wait of the proxy.
const day = 24 * time.Hour

// distinct are timeouts that cannot be taken for one another.
var distinct = Timeouts{
	Connect: 11 * time.Second, Greeting: 12 * time.Second, TLS: 13 * time.Second, Header: 14 * time.Second,
	Command: 15 * time.Second, Reply: 16 * time.Second, Data: 17 * time.Second, DataEnd: 18 * time.Second,
}

// A meeting is one session over pipes.
type meeting struct {
	route          *Route
	server, client []smtptest.Step
	dial           func(context.Context, string) (net.Conn, error) // nil: server plays
	from           net.Addr                                        // of the client
	log            bytes.Buffer
	elapsed        time.Duration // between the client's steps since and until
	began          time.Time
}

func (m *meeting) since() smtptest.Step {
	return smtptest.Pause(func() { m.began = time.Now() })
}

func (m *meeting) until() smtptest.Step {
	return smtptest.Pause(func() { m.elapsed = time.Since(m.began) })
}

// run plays both sides, and gives the end of the session as it is logged.
func (m *meeting) run(t *testing.T) string {
	t.Helper()
	m.route.Name, m.route.Timeouts = "test", distinct
	if m.route.Servers == nil {
		m.route.Servers = []string{"192.0.2.1:25"}
	}
	serverDone := make(chan error, 1)
	p := &Proxy{Logger: slog.New(slog.NewTextHandler(&m.log, nil)), dial: m.dial}
	if m.dial == nil {
		p.dial = func(context.Context, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				serverDone <- smtptest.Play(far, day, m.server...)
			}()
			return near, nil
		}
	}
	p.prepare()
	near, far := net.Pipe()
	go p.accepted(&pipe{near, m.from}, newRunning(m.route, "shim.example.com"))
	if err := smtptest.Play(far, day, m.client...); err != nil {
		t.Errorf("client: %v", err)
	}
	far.Close()
	if m.dial == nil && m.server != nil {
		if err := <-serverDone; err != nil {
			t.Errorf("server: %v", err)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	synctest.Wait()
	return m.log.String()
}

// A pipe is a connection from an address.
type pipe struct {
	net.Conn
	from net.Addr
}

func (p *pipe) RemoteAddr() net.Addr { return p.from }

var (
	serverGreets = []smtptest.Step{smtptest.Say("220 mail.example.com ESMTP")}
	clientGreets = []smtptest.Step{smtptest.Expect("220 mail.example.com ESMTP")}
	serverHello  = append(serverGreets, smtptest.Expect("EHLO c.example.com"), smtptest.Say("250-mail.example.com", "250 STARTTLS"))
	clientHello  = append(clientGreets, smtptest.Say("EHLO c.example.com"), smtptest.Expect("250-mail.example.com", "250 STARTTLS"))
	serverData   = append(serverHello, smtptest.Expect("DATA"), smtptest.Say("354 go ahead"))
	clientData   = append(clientHello, smtptest.Say("DATA"), smtptest.Expect("354 go ahead"))
)

// then joins lists of steps.
func then(lists ...[]smtptest.Step) []smtptest.Step {
	var all []smtptest.Step
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func steps(s ...smtptest.Step) []smtptest.Step { return s }

// drip sends octets one by one, with a gap before each but the first.
func drip(octets string, gap time.Duration) []smtptest.Step {
	var all []smtptest.Step
	for i, c := range []byte(octets) {
		if i > 0 {
			all = append(all, smtptest.Pause(func() { time.Sleep(gap) }))
		}
		all = append(all, smtptest.Send(string(c)))
	}
	return all
}

func TestEveryWaitHasItsTimeout(t *testing.T) {
	const noCommand, noAnswer = "421 4.4.2 no command in time", "421 4.4.2 no answer from server in time"
	const unreachable = "421 4.3.2 server not available"
	end := smtptest.ExpectEnd()
	for _, test := range []struct {
		name           string
		server, client []smtptest.Step // up to the wait
		hears          string          // "": nothing
		after          time.Duration
		outcome        string
		change         func(*Route)
	}{
		{"the greeting", steps(end), nil, unreachable, distinct.Greeting, "server-unreachable", nil},
		{"half a greeting", steps(smtptest.Send("220-half\r\n"), end), nil, unreachable, distinct.Greeting, "server-unreachable", nil},
		{"the next command", then(serverHello, steps(end)), clientHello, noCommand, distinct.Command, "client-timeout", nil},
		{"the first command", then(serverGreets, steps(end)), clientGreets, noCommand, distinct.Command, "client-timeout", nil},
		{"a reply", then(serverHello, steps(smtptest.Expect("NOOP"), end)), then(clientHello, steps(smtptest.Say("NOOP"))),
			noAnswer, distinct.Reply, "server-timeout", nil},
		{"the rest of a reply", then(serverHello, steps(smtptest.Expect("NOOP"), smtptest.Send("250-ok\r\n250"), end)),
			then(clientHello, steps(smtptest.Say("NOOP"))), noAnswer, distinct.Reply, "server-timeout", nil},
		{"the next block of a message", then(serverData, steps(smtptest.ExpectOctets("text\r\n"), end)),
			then(clientData, steps(smtptest.Say("text"))), "421 4.4.2 no more of the message in time", distinct.Data, "client-timeout", nil},
		{"the answer to a message", then(serverData, steps(smtptest.ExpectOctets(".\r\n"), end)),
			then(clientData, steps(smtptest.Send(".\r\n"))), noAnswer, distinct.DataEnd, "unknown", nil},
		{"the server's handshake", then(serverHello, steps(smtptest.Expect("STARTTLS"), smtptest.Say("220 go"), tlsBegins, mute)),
			then(clientGreets, steps(smtptest.Say("EHLO c.example.com"))),
			"454 4.7.0 TLS with the server is required and not to be had", distinct.TLS, "tls",
			func(r *Route) { r.ServerTLS.Mode = rewrite.ServerTLSRequire }},
		{"the server's handshake at once", steps(tlsBegins, mute), nil, unreachable, distinct.TLS, "server-unreachable",
			func(r *Route) { r.ServerTLS.Mode = rewrite.ServerTLSImplicit }},
		{"the client's handshake", then(serverHello, steps(end)),
			then(clientHello, steps(smtptest.Say("STARTTLS"), smtptest.Expect("220 2.0.0 ready to start TLS"))), "", distinct.TLS, "tls",
			func(r *Route) { r.ClientTLS.Mode = rewrite.ClientTLSOffer }},
		{"the client's handshake at once", nil, nil, "", distinct.TLS, "tls",
			func(r *Route) { r.ClientTLS.Mode = rewrite.ClientTLSImplicit }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &meeting{route: &Route{}, server: test.server}
				m.route.ClientTLS.Acceptor = AcceptWith(clientTLSConfig(t))
				m.route.ServerTLS.Dialer = DialWith(&tls.Config{})
				if test.change != nil {
					test.change(m.route)
				}
				m.client = then(test.client, steps(m.since()))
				if test.hears != "" {
					m.client = append(m.client, smtptest.Expect(test.hears), m.until())
				}
				if test.hears[:min(3, len(test.hears))] == "454" {
					m.client = append(m.client, smtptest.Say("QUIT"), smtptest.Expect("221 2.0.0 closing connection"))
				}
				m.client = append(m.client, end)
				if test.hears == "" {
					m.client = append(m.client, m.until())
				}
				log := m.run(t)
				if late := m.elapsed - test.after; late != 0 && (test.hears != "" || late != lingering) {
					t.Errorf("ended after %v, want %v", m.elapsed, test.after)
				}
				if !strings.Contains(log, "outcome="+test.outcome+" ") {
					t.Errorf("want %s in %s", test.outcome, log)
				}
			})
		})
	}
}

// A peer that begins TLS, and one that says nothing for longer than it is waited for.
var (
	tlsBegins = smtptest.ExpectOctets("\x16\x03\x01")
	mute      = smtptest.Pause(func() { time.Sleep(time.Hour) })
)

func clientTLSConfig(t *testing.T) *tls.Config {
	t.Helper()
	certificate, _, err := smtptest.Certificate("mail.example.com")
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}}
}

func TestATimeoutIsForAllOfALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meeting{route: &Route{}, server: then(serverHello, steps(smtptest.ExpectEnd()))}
		m.client = then(clientHello, steps(m.since()), drip("NOOP", 4*time.Second),
			steps(smtptest.Expect("421 4.4.2 no command in time"), m.until(), smtptest.ExpectEnd()))
		m.run(t)
		if m.elapsed != distinct.Command {
			t.Errorf("ended after %v, want %v", m.elapsed, distinct.Command)
		}
	})
}

func TestATimeoutIsForAllOfAReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meeting{route: &Route{}}
		m.server = then(serverHello, steps(smtptest.Expect("NOOP")), drip("250", 5*time.Second), steps(smtptest.ExpectEnd()))
		m.client = then(clientHello, steps(smtptest.Say("NOOP"), m.since(),
			smtptest.Expect("421 4.4.2 no answer from server in time"), m.until(), smtptest.ExpectEnd()))
		m.run(t)
		if m.elapsed != distinct.Reply {
			t.Errorf("ended after %v, want %v", m.elapsed, distinct.Reply)
		}
	})
}

func TestASlowReplyWithinItsTimePassesWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meeting{route: &Route{}}
		m.server = then(serverHello, steps(smtptest.Expect("NOOP")), drip("250-a\r\n250 b\r\n", time.Second),
			steps(smtptest.Expect("QUIT"), smtptest.Say("221 bye"), smtptest.ExpectEnd()))
		m.client = then(clientHello, steps(smtptest.Say("NOOP"), m.since(), smtptest.ExpectOctets("2"), m.until(),
			smtptest.Expect("50-a", "250 b"), smtptest.Say("QUIT"), smtptest.Expect("221 bye"), smtptest.ExpectEnd()))
		m.run(t)
		if m.elapsed != 13*time.Second {
			t.Errorf("the reply began after %v, want it whole after 13 s", m.elapsed)
		}
	})
}

// unreachable is what a dial to nobody comes to.
func unreachable(ctx context.Context) error {
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	<-ctx.Done()
	return ctx.Err()
}

func TestEachServerHasItsTimeToConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meeting{route: &Route{Servers: []string{"192.0.2.1:25", "192.0.2.2:25"}}}
		m.dial = func(ctx context.Context, _ string) (net.Conn, error) {
			return nil, unreachable(ctx)
		}
		m.client = steps(m.since(), smtptest.Expect("421 4.3.2 server not available"), m.until(), smtptest.ExpectEnd())
		m.run(t)
		if m.elapsed != 2*distinct.Connect {
			t.Errorf("ended after %v, want twice %v", m.elapsed, distinct.Connect)
		}
	})
}

func TestAServerThatTakesNoMoreOfAMessageIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		m := &meeting{route: &Route{}, server: then(serverData, steps(smtptest.Pause(func() { <-stop })))}
		m.client = then(clientData, steps(m.since(), smtptest.Say("text", "."),
			smtptest.Expect("421 4.4.2 connection to server lost"), m.until(), smtptest.ExpectEnd(), smtptest.Pause(func() { close(stop) })))
		log := m.run(t)
		if m.elapsed < distinct.Data || m.elapsed > 2*distinct.Data {
			t.Errorf("ended after %v, want %v to twice that", m.elapsed, distinct.Data)
		}
		if !strings.Contains(log, "outcome=server-lost ") {
			t.Error(log)
		}
	})
}

func TestATrustedPeerThatSaysNothingIsClosedWithoutAWord(t *testing.T) {
	for _, said := range []string{"", "P", "PROXY ", "PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r", header.Signature, header.Signature + "\x21\x11\x00\x0c"} {
		synctest.Test(t, func(t *testing.T) {
			m := &meeting{route: &Route{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
			m.from = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
			m.client = then(steps(m.since()), drip(said, 100*time.Millisecond), steps(smtptest.ExpectEnd(), m.until()))
			log := m.run(t)
			if m.elapsed != distinct.Header {
				t.Errorf("%q: closed after %v, want %v", said, m.elapsed, distinct.Header)
			}
			if !strings.Contains(log, "reason=proxy-header ") || strings.Contains(log, "outcome") {
				t.Error(log)
			}
		})
	}
}

func TestAnOpaqueStretchInWhichNothingMovesEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meeting{route: &Route{}}
		m.server = then(serverHello, steps(smtptest.Expect("STARTTLS"), smtptest.Say("220 go"), smtptest.ExpectOctets("\x16\x03\x01"),
			smtptest.Send("\x16\x03\x03"), smtptest.ExpectEnd()))
		m.client = then(clientHello, steps(smtptest.Say("STARTTLS"), smtptest.Expect("220 go"), smtptest.Send("\x16\x03\x01"),
			smtptest.ExpectOctets("\x16\x03\x03"), m.since(), smtptest.ExpectEnd(), m.until()))
		log := m.run(t)
		if m.elapsed != distinct.DataEnd {
			t.Errorf("ended after %v, want %v", m.elapsed, distinct.DataEnd)
		}
		if !strings.Contains(log, "outcome=opaque ") {
			t.Error(log)
		}
	})
}

// A reply that is here is not kept back for one that is not.
func TestRepliesOfAGroupAreNotHeldForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &meeting{route: &Route{}}
		pipelining := "250 PIPELINING"
		m.server = then(serverGreets, steps(smtptest.Expect("EHLO c.example.com"), smtptest.Say("250-m.example.com", pipelining),
			smtptest.Expect("MAIL FROM:<>", "RCPT TO:<b@example.net>"), smtptest.Say("250 mail"),
			smtptest.Pause(func() { time.Sleep(10 * time.Second) }), smtptest.Say("250 rcpt"), smtptest.ExpectEnd()))
		m.client = then(clientGreets, steps(smtptest.Say("EHLO c.example.com"), smtptest.Expect("250-m.example.com", pipelining),
			smtptest.Say("MAIL FROM:<>", "RCPT TO:<b@example.net>"), m.since(), smtptest.Expect("250 mail"), m.until(),
			smtptest.Expect("250 rcpt"), smtptest.Close()))
		m.run(t)
		if m.elapsed != holdReplies {
			t.Errorf("the first reply came after %v, want %v", m.elapsed, holdReplies)
		}
	})
}

func TestCloseDoesNotWaitForAConnectionBeingMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dialling := make(chan struct{})
		p := &Proxy{Logger: slog.New(slog.DiscardHandler), dial: func(ctx context.Context, _ string) (net.Conn, error) {
			close(dialling)
			return nil, unreachable(ctx)
		}}
		p.prepare()
		near, far := net.Pipe()
		defer far.Close()
		go p.accepted(near, newRunning(&Route{Name: "test", Servers: []string{"192.0.2.1:25"}}, "shim.example.com"))
		<-dialling
		began := time.Now()
		if p.Close(); time.Since(began) != 0 {
			t.Errorf("closed after %v", time.Since(began))
		}
	})
}

// A client that goes on sending, however slowly, hears at the end of its message what
// the server said in the middle; one that pauses hears it then.
func TestAnAnswerInAMessageWaitsForTheEndOrAPause(t *testing.T) {
	const text = "some text of a message\r\n"
	for _, test := range []struct {
		name    string
		gap     time.Duration // between the octets of the client; 0: it sends no more
		says    string        // "": the server hangs up
		hears   string
		after   time.Duration // from the last octet before the answer
		outcome string
	}{
		{"refused, slow client", 900 * time.Millisecond, "552 5.3.4 too big", "552 5.3.4 too big", 0, "server-lost"},
		{"lost, slow client", 900 * time.Millisecond, "", "421 4.4.2 connection to server lost", 0, "server-lost"},
		{"421, slow client", 900 * time.Millisecond, "421 4.3.2 bye", "421 4.3.2 bye", 0, "server-lost"},
		{"refused, pause", 0, "552 5.3.4 too big", "552 5.3.4 too big", watchAfter + answerAfter, "server-lost"},
		{"lost, pause", 0, "", "421 4.4.2 connection to server lost", watchAfter + answerAfter, "server-lost"},
		{"421, pause", 0, "421 4.3.2 bye", "421 4.3.2 bye", watchAfter + answerAfter, "server-lost"},
		{"a yes, pause", 0, "250 ok", "421 4.3.0 server broke the protocol", watchAfter, "server-protocol"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &meeting{route: &Route{}}
				m.server = then(serverData, steps(smtptest.ExpectOctets(text)))
				if test.says != "" {
					m.server = append(m.server, smtptest.Say(test.says), smtptest.ExpectEnd())
				}
				m.client = then(clientData, steps(smtptest.Send(text)))
				if test.gap > 0 {
					m.client = then(m.client, steps(smtptest.Pause(func() { time.Sleep(test.gap) })), drip(text+".\r\n", test.gap))
				}
				m.client = append(m.client, m.since(), smtptest.Expect(test.hears), m.until())
				refused := strings.HasPrefix(test.hears, "552")
				if refused && test.gap == 0 { // the rest is dropped
					m.client = append(m.client, smtptest.Say("more", "."))
				}
				if refused {
					m.client = append(m.client, smtptest.Say("QUIT"), smtptest.Expect("221 2.0.0 closing connection"))
				}
				m.client = append(m.client, smtptest.ExpectEnd())
				log := m.run(t)
				if m.elapsed != test.after {
					t.Errorf("it came after %v, want %v", m.elapsed, test.after)
				}
				if !strings.Contains(log, "outcome="+test.outcome+" ") || !refused && !strings.Contains(log, `while="passing on a message"`) {
					t.Error(log)
				}
			})
		})
	}
}

// A client that reads the refusal of its message while it sends that may go on with
// a command, for whose answer it waits.
func TestAClientThatHeardTheRefusalOfItsMessageMayGoOnWithACommand(t *testing.T) {
	const spent = "421 4.3.0 the last message cost the connection to the server, connect again"
	for command, answer := range map[string]string{"QUIT": "221 2.0.0 closing connection", "RSET": "250 2.0.0 ok", "noop": "250 2.0.0 ok", "MAIL FROM:<>": spent} {
		t.Run(command, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &meeting{route: &Route{}}
				m.server = then(serverData, steps(smtptest.ExpectOctets("text"), smtptest.Say("552 5.3.4 too big"), smtptest.ExpectEnd()))
				m.client = then(clientData, steps(smtptest.Send("text"), smtptest.Expect("552 5.3.4 too big")), drip(command, time.Second/2),
					steps(smtptest.Say(""), m.since(), smtptest.Expect(answer), m.until()))
				if strings.HasPrefix(answer, "250") {
					m.client = then(m.client, steps(smtptest.Say("QUIT"), smtptest.Expect("221 2.0.0 closing connection")))
				}
				m.client = then(m.client, steps(smtptest.ExpectEnd()))
				if log := m.run(t); !strings.Contains(log, "outcome=server-lost ") {
					t.Error(log)
				}
				if m.elapsed != answerAfter {
					t.Errorf("answered after %v, want %v", m.elapsed, answerAfter)
				}
			})
		})
	}
}
