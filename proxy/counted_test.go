package proxy_test

import (
	"strings"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
)

func TestEachLimitIsCountedByItsName(t *testing.T) {
	mailServer, mailClient := through(5) // of which three steps are before and in EHLO
	long := strings.Repeat("x", 5000)
	for limit, test := range map[string]struct {
		limits proxy.Limits
		server []smtptest.Step // after EHLO
		client []smtptest.Step
	}{
		"command-line": {proxy.Limits{}, nil, steps(smtptest.Say("NOOP "+long), smtptest.Expect("500 5.5.2 line too long"))},
		"errors": {proxy.Limits{Errors: 1}, steps(smtptest.ExpectEnd()),
			steps(smtptest.Say("NOOP "+long), smtptest.Expect("500 5.5.2 line too long"), smtptest.Say("NOOP "+long), smtptest.Expect("421 4.7.0 too many errors"))},
		"idle-commands": {proxy.Limits{Idle: 1}, steps(smtptest.ExpectEnd()),
			steps(smtptest.Say("NOOP"), smtptest.Expect("421 4.7.0 too many commands without a message"))},
		"recipients": {proxy.Limits{Recipients: 1}, steps(smtptest.Expect("MAIL FROM:<>"), smtptest.Say("250 ok"), smtptest.Expect("RCPT TO:<a@example.com>"), smtptest.Say("250 ok")),
			steps(smtptest.Say("MAIL FROM:<>"), smtptest.Expect("250 ok"), smtptest.Say("RCPT TO:<a@example.com>"), smtptest.Expect("250 ok"),
				smtptest.Say("RCPT TO:<b@example.com>"), smtptest.Expect("452 4.5.3 too many recipients"))},
		"messages": {proxy.Limits{Messages: 1}, append(mailServer[3:], smtptest.ExpectEnd()),
			append(mailClient[3:], smtptest.Say("MAIL FROM:<>"), smtptest.Expect("421 4.7.0 too many messages in one session"))},
		"message-size": {proxy.Limits{MessageSize: 10}, nil,
			steps(smtptest.Say("MAIL FROM:<> SIZE=11"), smtptest.Expect("552 5.3.4 a message may have 10 octets here"))},
		"sasl-line": {proxy.Limits{}, steps(smtptest.Expect("AUTH PLAIN"), smtptest.Say("334 "), smtptest.ExpectEnd()),
			steps(smtptest.Say("AUTH PLAIN"), smtptest.Expect("334 "), smtptest.Say(strings.Repeat("A", 13000)),
				smtptest.Expect("500 5.5.6 SASL line too long"))},
	} {
		t.Run(limit, func(t *testing.T) {
			server, client := through(1)
			c := play(t, append(server, test.server...), append(client, test.client...), func(r *proxy.Route) { r.Limits = test.limits })
			c.outcome(t)
			wantCount(t, c, "limit "+limit, 1)
		})
	}
}

func TestWhatIsNoReplyIsCountedByItsFault(t *testing.T) {
	for why, says := range map[string]string{
		"garbage":     "hello\r\n",
		"too-long":    "250 " + strings.Repeat("x", 5000) + "\r\n",
		"mixed-codes": "250-one\r\n251 two\r\n",
		"unfitting":   "354 go on\r\n",
	} {
		t.Run(why, func(t *testing.T) {
			server, client := through(1)
			server = append(server, smtptest.Expect("NOOP"), smtptest.Send(says), smtptest.ExpectEnd())
			client = append(client, smtptest.Say("NOOP"), smtptest.Expect(broken))
			c := play(t, server, client, nil)
			wantEnd(t, c, "server-protocol")
			wantCount(t, c, "bad reply "+why, 1)
			wantCount(t, c, "failed protocol", 1)
		})
	}
}

func TestAFreshConnectionIsCountedAsOneMore(t *testing.T) {
	s := startScripted(t,
		plays(smtptest.Say("220 mail.example.com"), smtptest.Expect("EHLO client.example.com")),
		plays(smtptest.Say("220 mail.example.com"), smtptest.Expect("EHLO client.example.com")),
		plays(smtptest.Say("220 mail.example.com"), smtptest.Expect("HELO client.example.com"), smtptest.Say("250 mail.example.com"), smtptest.ExpectEnd()))
	r := plainRoute(s)
	r.Rules = compile(t, "fall-back-to-helo")
	_, dial := startProxy(t, r)
	act(t, dial, plays(smtptest.Expect("220 mail.example.com"), smtptest.Say("EHLO client.example.com"), smtptest.Expect("250 mail.example.com")))
	s.wait(t)
	c := r.Observer.(*counts)
	c.outcome(t)
	wantCount(t, c, "server again", 2)
	wantCount(t, c, "connected", 3)
}

func TestSomeWaitsTellHowLongLinesWereHeld(t *testing.T) {
	server, client := through(1)
	for range 40 { // two waits each
		server = append(server, smtptest.Expect("NOOP"), smtptest.Say("250 ok"))
		client = append(client, smtptest.Say("NOOP"), smtptest.Expect("250 ok"))
	}
	c := play(t, server, client, nil)
	c.outcome(t)
	if n := c.get("held"); n < 3 || n > 20 {
		t.Errorf("%d of some 80 waits were told of, want one in 17", n)
	}
}
