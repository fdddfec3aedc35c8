package proxy_test

import (
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

// list makes one list of steps.
func list(lists ...[]smtptest.Step) []smtptest.Step { return slices.Concat(lists...) }

func steps(s ...smtptest.Step) []smtptest.Step { return s }

// says are a command and its reply, as the server and the client have it.
func says(command string, reply ...string) (server, client []smtptest.Step) {
	return steps(smtptest.Expect(command), smtptest.Say(reply...)), steps(smtptest.Say(command), smtptest.Expect(reply...))
}

const (
	readyTLS = "220 2.0.0 ready to start TLS"
	noTLS    = "454 4.7.0 TLS with the server is required and not to be had"
	notHere  = "502 5.5.1 command not available here"
)

// clientLeg is TLS between the client and us, in one mode.
func clientLeg(mode rewrite.ClientTLS, config *tls.Config) func(*proxy.Route) {
	return func(r *proxy.Route) { r.ClientTLS = proxy.ClientTLS{Mode: mode, Acceptor: proxy.AcceptWith(config)} }
}

// serverLeg is TLS between us and the server, in one mode. Opportunistic TLS
// does not verify.
func serverLeg(mode rewrite.ServerTLS, config *tls.Config) func(*proxy.Route) {
	return func(r *proxy.Route) {
		if r.ServerTLS.Mode = mode; config != nil {
			config := config.Clone()
			config.InsecureSkipVerify = config.InsecureSkipVerify || mode == rewrite.ServerTLSOpportunistic
			r.ServerTLS.Dialer = proxy.DialWith(config)
		}
	}
}

func TestTLSWithTheClientIsOfferedAndEndsWithUs(t *testing.T) {
	ours, theirs := testTLS(t)
	for _, offered := range []bool{false, true} { // whether the server has TLS too
		var keywords []string
		if offered {
			keywords = []string{"STARTTLS"}
		}
		server, _ := hello(keywords...)
		again, clientAgain := says("EHLO client.example.com", "250-mail.example.com", "250 SIZE")
		noop, clientNoop := says("NOOP", "250 ok")
		first := steps(smtptest.Expect("250-mail.example.com", "250-STARTTLS", "250 HELP"))
		client := list(steps(smtptest.Expect(greeting), smtptest.Say("EHLO client.example.com")), first,
			steps(smtptest.Say("STARTTLS now"), smtptest.Expect("501 5.5.4 STARTTLS has no argument"),
				smtptest.Say("STARTTLS"), smtptest.Expect(readyTLS), smtptest.ClientTLS(theirs)), clientAgain,
			steps(smtptest.Say("STARTTLS"), smtptest.Expect("503 5.5.1 TLS is in use already")), clientNoop, quitClient)
		c := play(t, list(server, again, noop, quitServer), client, clientLeg(rewrite.ClientTLSOffer, ours))
		wantEnd(t, c, "refused")
		wantCount(t, c, "tls client", 1)
	}
}

func TestTLSWithTheClientIsRequired(t *testing.T) {
	ours, theirs := testTLS(t)
	server, _ := hello()
	again, clientAgain := says("EHLO client.example.com", "250 mail.example.com")
	mail, clientMail := says("MAIL FROM:<>", "250 ok")
	client := list(steps(smtptest.Expect(greeting), smtptest.Say("EHLO client.example.com"),
		smtptest.Expect("250-mail.example.com", "250-STARTTLS", "250 HELP"),
		smtptest.Say("MAIL FROM:<>", "AUTH PLAIN AGEAYg=="),
		smtptest.Expect("530 5.7.0 Must issue a STARTTLS command first", "530 5.7.0 Must issue a STARTTLS command first"),
		smtptest.Say("STARTTLS"), smtptest.Expect(readyTLS), smtptest.ClientTLS(theirs)), clientAgain, clientMail, quitClient)
	c := play(t, list(server, again, mail, quitServer), client, clientLeg(rewrite.ClientTLSRequire, ours))
	wantEnd(t, c, "ok")
}

func TestTLSWithTheClientCanBeginTheConnection(t *testing.T) {
	ours, theirs := testTLS(t)
	server, client := hello("STARTTLS")
	client[len(client)-1] = smtptest.Expect("250-mail.example.com", "250 HELP")
	c := play(t, list(server, quitServer), list(steps(smtptest.ClientTLS(theirs)), client, quitClient),
		clientLeg(rewrite.ClientTLSImplicit, ours))
	wantEnd(t, c, "ok")
}

func TestTLSWithTheClientCanBeHidden(t *testing.T) {
	server, client := hello("STARTTLS", "X-ANONYMOUSTLS")
	client[len(client)-1] = smtptest.Expect("250-mail.example.com", "250 HELP")
	client = append(client, smtptest.Say("STARTTLS", "X-ANONYMOUSTLS"), smtptest.Expect(notHere, notHere))
	c := play(t, list(server, quitServer), list(client, quitClient), clientLeg(rewrite.ClientTLSHide, nil))
	wantEnd(t, c, "refused")
}

func TestTLSCanBeAMatterBetweenClientAndServer(t *testing.T) {
	ours, theirs := testTLS(t)
	server, client := hello("STARTTLS")
	start, clientStart := says("STARTTLS", "220 go")
	start, clientStart = append(start, smtptest.ServerTLS(ours)), append(clientStart, smtptest.ClientTLS(theirs))
	c := play(t, list(server, start, quitServer), list(client, clientStart, quitClient[:2]), nil)
	wantEnd(t, c, "opaque")
	wantCount(t, c, "tls client", 0)
}

func TestTLSWithTheServer(t *testing.T) {
	ours, theirs := testTLS(t)
	_, strangers := testTLS(t)
	wrongName := &tls.Config{RootCAs: theirs.RootCAs, ServerName: "other.example.com"}
	byAddress := &tls.Config{RootCAs: theirs.RootCAs} // 127.0.0.1, as in Servers
	unverified := &tls.Config{InsecureSkipVerify: true}
	const off, opportunistic, require = rewrite.ServerTLSOff, rewrite.ServerTLSOpportunistic, rewrite.ServerTLSRequire
	start, _ := says("STARTTLS", "220 go")
	start = append(start, smtptest.ServerTLS(ours))
	no, _ := says("STARTTLS", "454 4.7.0 not now")
	for _, test := range []serverTLS{
		{"off", off, theirs, true, nil, false, true},
		{"opportunistic", opportunistic, theirs, true, start, true, true},
		{"opportunistic with a stranger's certificate", opportunistic, strangers, true, start, true, true},
		{"opportunistic with a wrong name", opportunistic, wrongName, true, start, true, true},
		{"opportunistic and not offered", opportunistic, theirs, false, nil, false, true},
		{"opportunistic and refused", opportunistic, theirs, true, no, false, true},
		{"required", require, theirs, true, start, true, true},
		{"required by address", require, byAddress, true, start, true, true},
		{"required and not verified", require, unverified, true, start, true, true},
		{"required with a stranger's certificate", require, strangers, true, start, false, false},
		{"required with a wrong name", require, wrongName, true, start, false, false},
		{"required by default trust", require, nil, true, start, false, false},
		{"required and not offered", require, theirs, false, nil, false, false},
		{"required and refused", require, theirs, true, no, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			refuses := !test.works && test.starttls != nil && len(test.starttls) == len(no)
			test.play(t, refuses)
		})
	}
}

// serverTLS is one way that TLS with the server may go.
type serverTLS struct {
	name     string
	mode     rewrite.ServerTLS
	config   *tls.Config
	offered  bool
	starttls []smtptest.Step // the server's part of it; nil: none comes
	works    bool            // TLS does
	mail     bool            // is taken
}

// play is a session with MAIL in it. refuses: the server, STARTTLS.
func (test serverTLS) play(t *testing.T, refuses bool) {
	keywords := []string{"SIZE"}
	if test.offered {
		keywords = append(keywords, "STARTTLS")
	}
	server, _ := hello(keywords...)
	again, _ := says("EHLO client.example.com", "250-mail.example.com", "250-SIZE", "250 HELP")
	mail, clientMail := says("MAIL FROM:<a@example.com>", "250 ok")
	client := steps(smtptest.Expect(greeting), smtptest.Say("EHLO client.example.com"))
	server = list(server, test.starttls)
	switch {
	case test.works:
		server = list(server, again, mail, quitServer)
	case test.mail:
		server = list(server, mail, quitServer)
	case test.starttls == nil || refuses:
		server = append(server, smtptest.ExpectEnd())
	}
	if test.mail {
		client = list(client, steps(smtptest.Expect("250-mail.example.com", "250-SIZE", "250 HELP")), clientMail, quitClient)
	} else {
		client = append(client, smtptest.Expect(noTLS), smtptest.Say("MAIL FROM:<a@example.com>", "RSET"), smtptest.Expect(noTLS, noTLS),
			smtptest.Say("QUIT"), smtptest.Expect("221 2.0.0 closing connection"), smtptest.ExpectEnd())
	}
	end := asItIs
	if !test.works && !test.mail && test.starttls != nil && !refuses {
		end = despite // the handshake fails on both sides
	}
	s := startScripted(t, end(plays(server...)))
	r := plainRoute(s)
	serverLeg(test.mode, test.config)(r)
	clientLeg(rewrite.ClientTLSHide, nil)(r)
	_, dial := startProxy(t, r)
	act(t, dial, plays(client...))
	s.wait(t)
	c := r.Observer.(*counts)
	if test.mail {
		wantEnd(t, c, "ok")
	} else {
		wantEnd(t, c, "tls")
	}
	if (c.get("tls server") == 1) != test.works {
		t.Errorf("counted %v", c.n)
	}
}

// despite plays a part whose error is the point.
func despite(p part) part {
	return func(c net.Conn) error { p(c); return nil }
}

// A server that is lost in the handshake has TLS tried once more before.
func TestOpportunisticTLSThatFailsGoesOnInClearOnAFreshConnection(t *testing.T) {
	for name, test := range map[string]struct {
		answer   part
		failures int
	}{
		"garbage for an answer": {plays(smtptest.Say("500 what?")), 1},
		"hanging up":            {plays(), 2},
		"reset":                 {thenReset(plays()), 2},
		"an old version":        {despite(plays(smtptest.ServerTLS(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}))), 1},
	} {
		server, _ := hello("STARTTLS")
		start, _ := says("STARTTLS", "220 go")
		broken := func(c net.Conn) error {
			if err := plays(list(server, start)...)(c); err != nil {
				return err
			}
			one := make([]byte, 1)
			if name != "an old version" {
				c.Read(one)
			}
			return test.answer(c)
		}
		mail, clientMail := says("MAIL FROM:<a@example.com>", "250 ok")
		parts := append(slices.Repeat([]part{broken}, test.failures), plays(list(server, mail, quitServer)...))
		s := startScripted(t, parts...)
		r := plainRoute(s)
		serverLeg(rewrite.ServerTLSOpportunistic, nil)(r)
		clientLeg(rewrite.ClientTLSHide, nil)(r)
		_, dial := startProxy(t, r)
		act(t, dial, plays(list(steps(smtptest.Expect(greeting), smtptest.Say("EHLO client.example.com"),
			smtptest.Expect("250-mail.example.com", "250 HELP")), clientMail, quitClient)...))
		s.wait(t)
		c := r.Observer.(*counts)
		if o := c.outcome(t); o != "ok" || c.get("failed tls") != test.failures {
			t.Errorf("%s: ended %s, counted %v", name, o, c.n)
		}
	}
}

func TestTLSWithTheServerCanBeginTheConnection(t *testing.T) {
	ours, theirs := testTLS(t)
	_, strangers := testTLS(t)
	server, client := hello()
	c := play(t, list(steps(smtptest.ServerTLS(ours)), server, quitServer), list(client, quitClient),
		serverLeg(rewrite.ServerTLSImplicit, theirs))
	wantEnd(t, c, "ok")

	s := startScripted(t, despite(plays(smtptest.ServerTLS(ours))))
	r := plainRoute(s)
	serverLeg(rewrite.ServerTLSImplicit, strangers)(r)
	_, dial := startProxy(t, r)
	act(t, dial, plays(smtptest.Expect("421 4.3.2 server not available"), smtptest.ExpectEnd()))
	wantEnd(t, r.Observer.(*counts), "server-unreachable")
	wantCount(t, r.Observer.(*counts), "failed tls", 1)
}

func TestNothingMayStandBehindTheClientsSTARTTLS(t *testing.T) {
	ours, _ := testTLS(t)
	const behind = "554 5.5.0 nothing may be sent behind STARTTLS before its answer"
	for _, injected := range []string{"NOOP\r\n", "MAIL FROM:<evil@example.com>\r\n", "\r\n", "E", "QUIT\r\n", "\x16\x03\x01"} {
		for mode, change := range map[string]func(*proxy.Route){
			"offer": clientLeg(rewrite.ClientTLSOffer, ours), "pass": nil,
		} {
			server, client := hello("STARTTLS")
			client = append(client, smtptest.Send("STARTTLS\r\n"+injected), smtptest.Expect(behind), smtptest.ExpectEnd())
			c := play(t, append(server, smtptest.ExpectEnd()), client, change)
			if o := c.outcome(t); o != "client-protocol" {
				t.Errorf("%s, %q: ended %s", mode, injected, o)
			}
		}
	}
}

func TestAClientThatGoesOnInClearAfterSTARTTLSIsClosed(t *testing.T) {
	ours, _ := testTLS(t)
	for _, said := range []string{"NOOP\r\nMAIL FROM:<evil@example.com>\r\n", "GET / HTTP/1.1\r\n\r\n", "\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10"} {
		server, client := hello("STARTTLS")
		client = append(client, smtptest.Say("STARTTLS"), smtptest.Expect(readyTLS), smtptest.Send(said))
		c := play(t, append(server, smtptest.ExpectEnd()), client, clientLeg(rewrite.ClientTLSOffer, ours))
		wantEnd(t, c, "tls")
	}
}

func TestHalfACommandInClearIsNotFinishedUnderTLS(t *testing.T) {
	ours, theirs := testTLS(t)
	server, client := hello("STARTTLS")
	again, clientAgain := says("EHLO client.example.com", "250 mail.example.com")
	// what stands before STARTTLS on its line is part of it
	unknown, clientUnknown := says("NOOP injSTARTTLS", "500 what?")
	client = list(client, clientUnknown, steps(smtptest.Say("STARTTLS"), smtptest.Expect(readyTLS), smtptest.ClientTLS(theirs)),
		clientAgain, quitClient)
	c := play(t, list(server, unknown, again, quitServer), client, clientLeg(rewrite.ClientTLSOffer, ours))
	wantEnd(t, c, "ok")
}

func TestNothingMayStandBehindTheServersAnswerToSTARTTLS(t *testing.T) {
	for _, injected := range []string{"250 injected\r\n", "250-injected\r\n250 AUTH PLAIN\r\n", "2", "\r\n"} {
		for _, mode := range []rewrite.ServerTLS{rewrite.ServerTLSOpportunistic, rewrite.ServerTLSRequire} {
			server, _ := hello("STARTTLS")
			server = append(server, smtptest.Expect("STARTTLS"), smtptest.Send("220 ready\r\n"+injected), smtptest.ExpectEnd())
			client := steps(smtptest.Expect(greeting), smtptest.Say("EHLO client.example.com"), smtptest.Expect(broken), smtptest.ExpectEnd())
			c := play(t, server, client, serverLeg(mode, nil))
			wantEnd(t, c, "server-protocol")
			wantCount(t, c, "failed protocol", 1)
		}
		server, client := hello("STARTTLS")
		server = append(server, smtptest.Expect("STARTTLS"), smtptest.Send("220 ready\r\n"+injected), smtptest.ExpectEnd())
		client = append(client, smtptest.Say("STARTTLS"), smtptest.Expect(broken), smtptest.ExpectEnd())
		c := play(t, server, client, nil) // between client and server
		wantEnd(t, c, "server-protocol")
	}
}

func TestWhatWasSaidBeforeTLSIsForgotten(t *testing.T) {
	ours, theirs := testTLS(t)
	server, client := hello("STARTTLS")
	again, clientAgain := says("EHLO client.example.com", "250 mail.example.com")
	mail, clientMail := says("MAIL FROM:<>", "250 ok")
	client = list(client, steps(smtptest.Say("STARTTLS"), smtptest.Expect(readyTLS), smtptest.ClientTLS(theirs),
		smtptest.Say("RCPT TO:<b@example.net>", "MAIL FROM:<>"), smtptest.Expect("503 5.5.1 EHLO first", "503 5.5.1 EHLO first")),
		clientAgain, clientMail, quitClient)
	c := play(t, list(server, again, mail, quitServer), client, clientLeg(rewrite.ClientTLSOffer, ours))
	wantEnd(t, c, "ok")
}

func TestTLSDoesNotBeginInATransaction(t *testing.T) {
	ours, _ := testTLS(t)
	server, client := hello("STARTTLS")
	mail, clientMail := says("MAIL FROM:<>", "250 ok")
	client = list(client, clientMail,
		steps(smtptest.Say("STARTTLS"), smtptest.Expect("503 5.5.1 STARTTLS comes before AUTH and MAIL")), quitClient)
	c := play(t, list(server, mail, quitServer), client, clientLeg(rewrite.ClientTLSOffer, ours))
	wantEnd(t, c, "refused")
}

// What is behind a reply may already be decrypted, where no poll shows it.
func TestASecondReplyUnderTLSIsNoticed(t *testing.T) {
	ours, theirs := testTLS(t)
	for _, apart := range []bool{false, true} { // in records of their own
		second := steps(smtptest.Send("250 ok\r\n250 extra\r\n"))
		if apart {
			second = steps(smtptest.Say("250 ok"), smtptest.Say("250 extra"))
		}
		server := list(steps(smtptest.ServerTLS(ours), smtptest.Say(greeting), smtptest.Expect("NOOP")), second, steps(smtptest.ExpectEnd()))
		client := steps(smtptest.Expect(greeting), smtptest.Say("NOOP"), smtptest.Expect("250 ok"), smtptest.Expect(broken), smtptest.ExpectEnd())
		c := play(t, server, client, serverLeg(rewrite.ServerTLSImplicit, theirs))
		wantEnd(t, c, "server-protocol")
	}
}

func TestAMessagePassesUnderTLSOnBothSides(t *testing.T) {
	ours, theirs := testTLS(t)
	text := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1<<20/72)
	server, client := through(endOfData)
	half := make(chan struct{})
	server = list(steps(smtptest.ServerTLS(ours)), server, steps(smtptest.ExpectOctets(text), smtptest.Pause(func() { close(half) }),
		smtptest.ExpectOctets(text+".\r\n"), smtptest.Say("250 2.0.0 taken")), quitServer)
	client = list(steps(smtptest.ClientTLS(theirs)), client, steps(smtptest.Send(text), smtptest.Pause(func() { <-half }),
		smtptest.Send(text+".\r\n"), smtptest.Expect("250 2.0.0 taken")), quitClient)
	c := play(t, server, client, func(r *proxy.Route) {
		clientLeg(rewrite.ClientTLSImplicit, ours)(r)
		serverLeg(rewrite.ServerTLSImplicit, theirs)(r)
	})
	wantEnd(t, c, "ok")
	wantCount(t, c, "message accepted", 1)
}

func TestTheEndOfTLSInAMessageIsNotTheEndOfTheMessage(t *testing.T) {
	ours, theirs := testTLS(t)
	server, client := through(endOfData)
	for _, notify := range []bool{true, false} {
		var got []byte
		s := startScripted(t, func(c net.Conn) error {
			if err := smtptest.Play(c, patience, server...); err != nil {
				return err
			}
			var err error
			got, err = io.ReadAll(c)
			return err
		})
		r := plainRoute(s)
		clientLeg(rewrite.ClientTLSImplicit, ours)(r)
		_, dial := startProxy(t, r)
		act(t, dial, func(c net.Conn) error {
			secure := tls.Client(c, theirs)
			if err := smtptest.Play(secure, patience, append(client, smtptest.Send("text\r\n.\r"))...); err != nil {
				return err
			}
			if notify {
				secure.CloseWrite()
			}
			return nil
		})
		s.wait(t)
		if string(got) != "text\r\n" {
			t.Errorf("the server got %q", got)
		}
		wantEnd(t, r.Observer.(*counts), "client-lost")
	}
}
