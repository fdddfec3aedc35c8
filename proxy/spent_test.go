package proxy_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

// mailAlone is both sides' part of a mail from MAIL on.
func mailAlone() (server, client []smtptest.Step) {
	server, client = through(len(exchanges))
	return server[3:], client[3:]
}

func TestTheNextMailAfterARefusedMessageGetsAFreshConnection(t *testing.T) {
	text := strings.Repeat("a line\r\n", 20_000)
	ours, theirs := testTLS(t)
	expect, say, send := smtptest.Expect, smtptest.Say, smtptest.Send
	const own, tooLarge = "", "552 5.3.4 a message may have 1000 octets here"
	for name, test := range map[string]struct {
		sent   string
		says   string // the server, in the middle; "": nothing
		hears  string // the client, at the end
		change func(*proxy.Route)
	}{
		"552":             {text + ".\r\n", "552 5.3.4 too big", "552 5.3.4 too big", nil},
		"451":             {text + ".\r\n", "451 4.3.0 try later", "451 4.3.0 try later", nil},
		"421":             {text + ".\r\n", "421 4.3.2 going down", "421 4.3.2 going down", nil},
		"our limit":       {text + ".\r\n", own, tooLarge, func(r *proxy.Route) { r.Limits.MessageSize = 1000 }},
		"a stray octet":   {text + "\n.\r\n.\r\n", own, stray, func(r *proxy.Route) { r.Rules = withMode(t, "stray-bytes", "refuse") }},
		"a long line":     {text + strings.Repeat("x", 999) + "\r\n.\r\n", own, "554 5.6.0 the message has a line of more than 998 octets", func(r *proxy.Route) { r.Rules = withMode(t, "long-lines", "refuse") }},
		"552, server_tls": {text + ".\r\n", "552 5.3.4 too big", "552 5.3.4 too big", serverLeg(rewrite.ServerTLSRequire, theirs)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			toData, clientToData := through(endOfData)
			wholeServer, wholeClient := mailAlone()
			begin := toData[:3]
			if name == "552, server_tls" {
				begin = steps(say(greeting), expect("EHLO client.example.com"), say("250-mail.example.com", "250 STARTTLS"), expect("STARTTLS"), say("220 go"),
					smtptest.ServerTLS(ours), expect("EHLO client.example.com"), say("250 mail.example.com"))
			}
			said := make(chan struct{})
			first := list(begin, toData[3:], steps(expect("a line")))
			if test.says != "" {
				first = list(first, steps(say(test.says)))
			}
			first = list(first, steps(smtptest.Pause(func() { close(said) })))
			s := startScripted(t, func(c net.Conn) error {
				if err := plays(first...)(c); err != nil {
					return err
				}
				return untilEnd(c)
			}, plays(list(begin, wholeServer, quitServer)...))
			r := plainRoute(s)
			if test.change != nil {
				test.change(r)
			}
			_, dial := startProxy(t, r)
			act(t, dial, plays(list(clientToData, steps(send("a line\r\n"), smtptest.Pause(func() { <-said }), send(test.sent), expect(test.hears), say("RSET"), expect("250 2.0.0 ok"),
				say("NOOP"), expect("250 2.0.0 ok")), wholeClient, quitClient)...))
			s.wait(t)
			c := r.Observer.(*counts)
			c.outcome(t)
			wantCount(t, c, "message refused", 1)
			wantCount(t, c, "message accepted", 1)
			wantCount(t, c, "server again", 1)
		})
	}
}

// untilEnd reads until the other side closes, and never writes.
func untilEnd(c net.Conn) error {
	c.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 64<<10)
	for {
		if _, err := c.Read(b); err != nil {
			if isDeadline(err) {
				return err
			}
			return nil
		}
	}
}

func isDeadline(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

func TestAClientThatHeard421InAMessageFindsItsConnectionOpen(t *testing.T) {
	for name, test := range map[string]struct{ says, answer string }{
		"QUIT": {"QUIT", "221 2.0.0 closing connection"},
		"RSET": {"RSET", "250 2.0.0 ok"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := through(endOfData)
			said := make(chan struct{})
			server = list(server, steps(smtptest.Expect("text"), smtptest.Say("421 4.3.2 going down"), smtptest.Pause(func() { close(said) }), smtptest.ExpectEnd()))
			client = list(client, steps(smtptest.Say("text"), smtptest.Pause(func() { <-said }), smtptest.Say("."),
				smtptest.Expect("421 4.3.2 going down"), smtptest.Say(test.says), smtptest.Expect(test.answer)))
			wantEnd(t, play(t, server, client, nil), "server-lost")
		})
	}
}

func TestTheNextMailAfterChunksThatWereRefusedGetsAFreshConnection(t *testing.T) {
	expect, say, send := smtptest.Expect, smtptest.Say, smtptest.Send
	for name, test := range map[string]struct {
		server, client []smtptest.Step // from the first chunk on
		code           int
	}{
		"by the server": {steps(expect("text"), say("552 5.3.4 too big"), smtptest.ExpectEnd()),
			steps(send("BDAT 12\r\ntext\r\n"), expect("552 5.3.4 too big"), send("text\r\n"), send("BDAT 2 LAST\r\n\r\n"), expect("503 5.5.1 MAIL first"),
				say("RSET"), expect("250 2.0.0 ok")), 552},
		"by RSET": {steps(expect("text"), smtptest.ExpectEnd()),
			steps(send("BDAT 6\r\ntext\r\n"), expect("250 2.0.0 6 octets received"), say("RSET"), expect("250 2.0.0 ok"), say("RSET"), expect("250 2.0.0 ok")), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := hello()
			again := server
			client[len(client)-1] = expect("250-mail.example.com", "250-HELP", "250 CHUNKING")
			server, client = addressed(server, client)
			wholeServer, wholeClient := mailAlone()
			s := startScripted(t, plays(list(server, steps(expect("DATA"), say("354 go on")), test.server)...), plays(list(again, wholeServer, quitServer)...))
			r := plainRoute(s)
			r.Rules = compile(t, "bdat-to-data")
			_, dial := startProxy(t, r)
			act(t, dial, plays(list(client, test.client, wholeClient, quitClient)...))
			s.wait(t)
			c := r.Observer.(*counts)
			want := "ok"
			if test.code > 0 {
				want = "refused"
			}
			wantEnd(t, c, want)
			wantCount(t, c, "message accepted", 1)
		})
	}
}
