package proxy_test

import (
	"strings"
	"testing"

	"smtpshim/proxy/smtptest"
)

// The first reply is the answer. What is no second yes ends the session behind it.
func TestTheFirstReplyToAMessageIsTheAnswer(t *testing.T) {
	for _, c := range []struct {
		replies  [2]string
		closes   bool
		then     string // "": the connection is closed
		accepted int
	}{
		{[2]string{"250 2.0.0 taken", "550 no"}, false, broken, 1},
		{[2]string{"554 5.0.0 no", "500 5.4.0 too long line"}, false, broken, 0},
		{[2]string{"554 5.0.0 no", "250 ok"}, false, broken, 0},
		{[2]string{"250 2.0.0 taken", "354 go on"}, false, broken, 1},
		{[2]string{"554 5.0.0 no", "500 5.4.0 too long line, closing connection"}, true, "421 4.4.0 too long line, closing connection", 0},
		{[2]string{"250 2.0.0 taken", "500 5.4.0 closing"}, true, "421 4.4.0 closing", 1},
		{[2]string{"250 2.0.0 taken", "421 4.7.0 bye"}, true, "421 4.7.0 bye", 1},
		{[2]string{"250 2.0.0 taken", "221 2.0.0 bye"}, true, "421 4.0.0 bye", 1},
	} {
		for _, lateOne := range []bool{false, true} {
			t.Run(strings.Join(c.replies[:], ", "), func(t *testing.T) {
				heard := make(chan struct{})
				server, client := asked(endOfData)
				server = append(server, smtptest.Say(c.replies[0]))
				client = append(client, smtptest.Expect(c.replies[0]), smtptest.Pause(func() { close(heard) }),
					smtptest.Expect(c.then), smtptest.ExpectEnd())
				if lateOne {
					server = append(server, smtptest.Pause(func() { <-heard }))
				}
				server = append(server, smtptest.Say(c.replies[1]))
				if c.closes {
					server = append(server, smtptest.Close())
				} else {
					server = append(server, smtptest.ExpectEnd())
				}
				n := play(t, server, client, standard(t))
				wantCount(t, n, "message accepted", c.accepted)
				wantCount(t, n, "message unknown", 0)
			})
		}
	}
}

// A reply of another class behind a yes is doubt, and no reply to what comes next.
func TestASecondReplyOfAnotherClassEndsTheSession(t *testing.T) {
	for n := range exchanges[:endOfData-1] {
		for _, second := range []string{"550 no", "450 no", "354 go on"} {
			server, client := asked(n)
			server = append(server, smtptest.Say(exchanges[n][1], second), smtptest.ExpectEnd())
			client = append(client, smtptest.Expect(exchanges[n][1]), smtptest.Expect(broken), smtptest.ExpectEnd())
			wantEnd(t, play(t, server, client, standard(t)), "server-protocol")
		}
	}
}

// A yes between the answer to DATA and the end of the message is not the server's
// answer to the message, and is not dropped either.
func TestAYesBehindThe354EndsTheSession(t *testing.T) {
	server, client := asked(endOfData - 1)
	server = append(server, smtptest.Say("354 go ahead", "250 2.0.0 taken"), smtptest.ExpectEnd())
	client = append(client, smtptest.Expect("354 go ahead"), smtptest.Say("text", "."), smtptest.Expect(broken), smtptest.ExpectEnd())
	n := play(t, server, client, standard(t))
	wantEnd(t, n, "server-protocol")
	wantCount(t, n, "message accepted", 0)
}

func TestTheLastWordOfAServerIsNoAnswer(t *testing.T) {
	for said, hears := range map[string]string{
		"451 4.7.0 Timeout waiting for client input": "421 4.7.0 Timeout waiting for client input",
		"221 2.0.0 bye":           "421 4.0.0 bye",
		"500 5.5.1 idle too long": "421 4.5.1 idle too long",
		"421 4.4.2 idle":          "421 4.4.2 idle",
		"451\tidle":               "421 idle",
	} {
		for _, speaks := range []bool{false, true} { // the client, at the same time
			t.Run(said, func(t *testing.T) {
				heard, closed := make(chan struct{}), make(chan struct{})
				server, client := through(1)
				server = append(server, smtptest.Pause(func() { <-heard }), smtptest.Say(said), smtptest.Close(),
					smtptest.Pause(func() { close(closed) }))
				client = append(client, smtptest.Pause(func() { close(heard); <-closed }))
				if speaks {
					client = append(client, smtptest.Say("MAIL FROM:<a@example.com>"))
				}
				n := play(t, server, append(client, smtptest.Expect(hears), smtptest.ExpectEnd()), standard(t))
				wantEnd(t, n, "server-lost")
				wantCount(t, n, "failed protocol", 0)
			})
		}
	}
}

// It has come as the answer to a command that nobody has read.
func TestAGoodbyeIsNoYesToACommand(t *testing.T) {
	for n := range exchanges[:endOfData] {
		server, client := asked(n)
		server = append(server, smtptest.Say("221 2.0.0 bye"), smtptest.Close())
		client = append(client, smtptest.Expect("421 4.0.0 bye"), smtptest.ExpectEnd())
		wantEnd(t, play(t, server, client, standard(t)), "server-lost")
	}
}

// A server that has said why it goes is not followed by a 421 of ours.
func TestNoReplyOfOursFollowsAGoodbye(t *testing.T) {
	for _, bye := range []string{"521 5.7.1 go away", "500 5.5.1 too many unrecognized commands", "421 4.7.0 bye", "554 no"} {
		server, client := asked(1)
		server = append(server, smtptest.Say(bye), smtptest.Close())
		client = append(client, smtptest.Expect(bye), smtptest.ExpectEnd())
		wantEnd(t, play(t, server, client, standard(t)), "server-lost")
	}
}

// The greeting's reason reaches the client, and a reply whose last line is of a
// better class than another one does not.
func TestAReplyWithSeveralCodesIsNoBetterThanItsLastLine(t *testing.T) {
	play(t, steps(smtptest.Say("220-mail.example.com", "521 5.7.1 blocked")),
		steps(smtptest.Expect("521-mail.example.com", "521 5.7.1 blocked")), standard(t))
	for n := range exchanges {
		for _, reply := range []string{"550-no\r\n250 ok", "450-no\r\n250 ok", "550-no\r\n450 later", "450-no\r\n354 go", "354-go\r\n250 ok", "250-ok\r550 no"} {
			server, client := asked(n)
			server = append(server, smtptest.Say(reply), smtptest.ExpectEnd())
			client = append(client, smtptest.Expect(broken), smtptest.ExpectEnd())
			c := play(t, server, client, standard(t))
			wantCount(t, c, "message accepted", 0)
		}
		if n == endOfData-1 {
			continue
		}
		server, client := asked(n)
		server = append(server, smtptest.Say("250-well\r\n550 no"))
		client = append(client, smtptest.Expect("550-well", "550 no"))
		if n > 0 { // to EHLO HELO is said
			wantCount(t, play(t, server, client, standard(t)), "rule mixed-reply-codes", 1)
		}
	}
}
