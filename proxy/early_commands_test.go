package proxy_test

import (
	"os"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
)

func shown(r *proxy.Route) { r.EarlyCommands = proxy.EarlyShown }

// With EarlyShown a server notices a client that does not wait for its greeting.
func TestAServerMaySeeWhoSpeaksBeforeItsGreeting(t *testing.T) {
	early := steps(smtptest.Say("EHLO client.example.com"))
	answer, clientAnswer := says("EHLO client.example.com", "250 mail.example.com")
	for name, c := range map[string]struct {
		server, client []smtptest.Step
		ends           string
	}{
		"and refuse the session in place of the greeting": {
			steps(smtptest.Expect("NOOP"), smtptest.Say("554 5.5.0 you talk too soon")),
			steps(smtptest.Expect("554 5.5.0 you talk too soon")), "server-lost"},
		"and refuse the session, and answer what follows": { // RFC 5321, 3.1: it waits for QUIT
			list(steps(smtptest.Expect("NOOP"), smtptest.Say("554 5.0.0 you talk too soon", "503 5.0.0 no")),
				steps(smtptest.Expect("EHLO client.example.com"), smtptest.Say("503 5.0.0 no")), quitServer),
			list(steps(smtptest.Expect("554 5.0.0 you talk too soon"), smtptest.Expect("503 5.0.0 no")), quitClient), "refused"},
		"and refuse it behind the greeting": {
			steps(smtptest.Expect("NOOP"), smtptest.Say(greeting), smtptest.Say("421 4.5.0 you talk too soon")),
			steps(smtptest.Expect("421 4.5.0 you talk too soon"), smtptest.ExpectEnd()), ""},
		"and go on": {
			list(steps(smtptest.Expect("NOOP"), smtptest.Say(greeting), smtptest.Say("250 ok")), answer, quitServer),
			list(steps(smtptest.Expect(greeting)), clientAnswer[1:], quitClient), "ok"},
		"and go on though it does not know NOOP": {
			list(steps(smtptest.Expect("NOOP"), smtptest.Say(greeting), smtptest.Say("500 what?")), answer, quitServer),
			list(steps(smtptest.Expect(greeting)), clientAnswer[1:], quitClient), "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startScripted(t, plays(c.server...))
			r := plainRoute(s)
			shown(r)
			_, dial := startProxy(t, r)
			act(t, dial, plays(list(early, c.client)...))
			s.wait(t)
			if c.ends != "" {
				wantEnd(t, r.Observer.(*counts), c.ends)
			}
		})
	}
}

// A server need not greet a client that speaks first: postscreen, with
// postscreen_greet_action = enforce, sends its teaser at most, and goes on with the
// answer to what the client has said.
func TestAServerThatDoesNotGreetWhoSpeaksFirstIsServed(t *testing.T) {
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	early := steps(smtptest.Say("EHLO client.example.com"))
	answer, clientAnswer := says("EHLO client.example.com", "250-mail.example.com", "250 PIPELINING")
	for name, c := range map[string]struct {
		server []smtptest.Step
		hears  []string
	}{
		"behind a teaser":          {steps(smtptest.Send("220-wait a bit\r\n"), smtptest.Expect("NOOP"), smtptest.Say("250 2.0.0 Ok")), []string{"220 wait a bit"}},
		"behind a longer teaser":   {steps(smtptest.Send("220-wait\r\n220-a bit\r\n"), smtptest.Expect("NOOP"), smtptest.Say("250 2.0.0 Ok")), []string{"220-wait", "220 a bit"}},
		"without a teaser":         {steps(smtptest.Expect("NOOP"), smtptest.Say("250 2.0.0 Ok")), []string{"220 " + hostname}},
		"with several lines":       {steps(smtptest.Expect("NOOP"), smtptest.Say("220-wait a bit", "250-2.0.0 Ok", "250 2.0.0 go on")), []string{"220 wait a bit"}},
		"with a teaser in halves":  {steps(smtptest.Expect("NOOP"), smtptest.Send("22"), smtptest.Send("0"), smtptest.Send("-wait a bit\r\n25"), smtptest.Send("0 2.0.0 Ok\r\n")), []string{"220 wait a bit"}},
		"although it does, slowly": {steps(smtptest.Send("220-wait a bit\r\n"), smtptest.Expect("NOOP"), smtptest.Send("220 mail.example.com ESMTP\r\n"), smtptest.Say("250 2.0.0 Ok")), []string{"220-wait a bit", greeting}},
	} {
		for _, rules := range [][]string{nil, {"standard", "-advertise-esmtp"}} {
			t.Run(name, func(t *testing.T) {
				server := list(c.server, answer, quitServer)
				client := list(early, steps(smtptest.Expect(c.hears...)), clientAnswer[1:], quitClient)
				played := play(t, server, client, func(r *proxy.Route) {
					shown(r)
					r.Rules = compile(t, rules...)
				})
				wantEnd(t, played, "ok")
			})
		}
	}
}

// A refusal behind the teaser stays one, and reaches the client.
func TestAServerThatRefusesWhoSpeaksFirstBehindATeaserIsHeard(t *testing.T) {
	s := startScripted(t, plays(steps(smtptest.Send("220-wait a bit\r\n"), smtptest.Expect("NOOP"), smtptest.Say("521 5.5.1 Protocol error"))...))
	r := plainRoute(s)
	shown(r)
	r.Rules = compile(t, "standard")
	_, dial := startProxy(t, r)
	act(t, dial, plays(smtptest.Say("EHLO client.example.com"), smtptest.Expect("521-wait a bit", "521 5.5.1 Protocol error"), smtptest.ExpectEnd()))
	s.wait(t)
}

// By default the server sees a client that waits.
func TestCommandsBeforeTheGreetingAreHeld(t *testing.T) {
	answer, clientAnswer := says("EHLO client.example.com", "250 mail.example.com")
	c := play(t, list(steps(smtptest.Say(greeting)), answer, quitServer),
		list(steps(smtptest.Say("EHLO client.example.com"), smtptest.Expect(greeting)), clientAnswer[1:], quitClient), nil)
	wantEnd(t, c, "ok")
}

// A client that waits is no early talker, and a server that waits for it is none.
func TestAClientThatWaitsIsShownAsOne(t *testing.T) {
	server, client := hello()
	c := play(t, append(server, quitServer...), append(client, quitClient...), shown)
	wantEnd(t, c, "ok")
}

// Groups go on as they come, also where the server does not offer PIPELINING.
func TestAServerMaySeeGroupsThatItDoesNotOffer(t *testing.T) {
	server, client := hello()
	server = append(server, smtptest.ExpectOctets("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nRSET\r\n"), smtptest.Say("250 one"), smtptest.Say("550 two"), smtptest.Say("250 three"))
	client = append(client, smtptest.Say("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "RSET"), smtptest.Expect("250 one", "550 two", "250 three"))
	play(t, append(server, quitServer...), append(client, quitClient...), shown)
}
