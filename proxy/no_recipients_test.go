package proxy_test

import (
	"net"
	"strings"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
)

const noRecipients = "554 5.5.1 no valid recipients"

// refusesAll is a server that refuses each recipient and takes DATA in a group all the
// same. What it gets behind that is up to rest.
func refusesAll(says string, rest ...smtptest.Step) part {
	server, _ := hello("PIPELINING")
	return plays(list(server, steps(smtptest.Expect("MAIL FROM:<a@example.com>"), smtptest.Expect("RCPT TO:<b@example.net>"), smtptest.Expect("DATA"),
		smtptest.Say("250 2.1.0 ok", says, "354 go on")), rest)...)
}

func TestAMessageWithoutRecipientsIsNotTaken(t *testing.T) {
	_, begin := hello("PIPELINING")
	group := "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
	expect, say, send := smtptest.Expect, smtptest.Say, smtptest.Send
	for name, test := range map[string]struct {
		says    string
		rest    []smtptest.Step // of the server
		client  []smtptest.Step
		refused int
	}{
		"the client sends it": {"550 5.1.1 unknown", steps(smtptest.ExpectEnd()),
			steps(send(group), expect("250 2.1.0 ok"), expect("550 5.1.1 unknown"), expect("354 go on"), send("Subject: x\r\n\r\ntext\r\n.\r\n"), expect(noRecipients),
				say("QUIT"), expect("221 2.0.0 closing connection")), 1},
		"refused for now": {"450 4.2.0 greylisted", steps(smtptest.ExpectEnd()),
			steps(send(group), expect("250 2.1.0 ok"), expect("450 4.2.0 greylisted"), expect("354 go on"), send("a\r\n.\r\n"), expect("451 4.5.1 no valid recipients"),
				say("QUIT"), expect("221 2.0.0 closing connection")), 1},
		"a long one": {"550 5.1.1 unknown", nil,
			steps(send(group), expect("250 2.1.0 ok"), expect("550 5.1.1 unknown"), expect("354 go on"), send(strings.Repeat("text\r\n", 100_000)+".\r\n"), expect(noRecipients),
				say("QUIT"), expect("221 2.0.0 closing connection")), 1},
		"the client cancels it": {"550 5.1.1 unknown", list(steps(expect("."), say("554 5.5.1 no recipients")), quitServer),
			list(steps(send(group), expect("250 2.1.0 ok"), expect("550 5.1.1 unknown"), expect("354 go on"), send(".\r\n"), expect("554 5.5.1 no recipients")), quitClient), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := refusesAll(test.says, test.rest...)
			s := startScripted(t, func(c net.Conn) error {
				err := server(c)
				if err == nil && name == "a long one" {
					err = untilEnd(c)
				}
				return err
			})
			r := plainRoute(s)
			r.Rules = compile(t, "standard")
			_, dial := startProxy(t, r)
			act(t, dial, plays(list(begin, test.client)...))
			s.wait(t)
			c := r.Observer.(*counts)
			wantOutcomes := map[int]string{0: "refused", 1: "message-refused"}
			wantEnd(t, c, wantOutcomes[test.refused])
			wantCount(t, c, "message accepted", 0)
			wantCount(t, c, "rule no-valid-recipients", test.refused)
		})
	}
}

// A client that does not wait for the answer to DATA sends a message, not commands.
func TestAMessageBehindADATAThatWeRefusedIsNotRun(t *testing.T) {
	for name, sent := range map[string][]string{
		"at once":    {"DATA\r\nSubject: x\r\n\r\nMAIL FROM:<smuggled@example.com>\r\n.\r\n"},
		"soon after": {"DATA\r\n", "Subject: x\r\n\r\nMAIL FROM:<smuggled@example.com>\r\n.\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := through(2)
			server = list(server, steps(smtptest.Expect("RCPT TO:<b@example.net>"), smtptest.Say("550 5.1.1 unknown"), smtptest.ExpectEnd()))
			client = list(client, steps(smtptest.Say("RCPT TO:<b@example.net>"), smtptest.Expect("550 5.1.1 unknown")))
			for i, octets := range sent {
				client = append(client, smtptest.Send(octets))
				if i == 0 {
					client = append(client, smtptest.Expect(noRecipients))
				}
			}
			client = list(client, steps(smtptest.Expect("554 5.5.0 the message was sent before DATA was accepted"), smtptest.ExpectEnd()))
			c := play(t, server, client, func(r *proxy.Route) { r.Rules = compile(t, "standard") })
			wantEnd(t, c, "client-protocol")
		})
	}
}
