package proxy_test

import (
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
)

const lmtpGreeting = "220 mail.example.com LMTP"

// lmtpMessage is one message in LMTP up to its end, to these recipients, of whom the
// server accepts each, and what the server answers to its end, in one write.
func lmtpMessage(to, answers []string) (server, client []smtptest.Step) {
	for _, e := range [][2]string{{"MAIL FROM:<a@example.com>", "250 2.1.0 ok"}} {
		s, c := says(e[0], e[1])
		server, client = append(server, s...), append(client, c...)
	}
	for _, r := range to {
		s, c := says("RCPT TO:<"+r+">", "250 2.1.5 ok")
		server, client = append(server, s...), append(client, c...)
	}
	s, c := says("DATA", "354 go ahead")
	server, client = append(server, s...), append(client, c...)
	s, c = says("text\r\n.", answers...)
	s[0] = smtptest.Expect("text", ".")
	return append(server, s...), append(client, c...)
}

// lmtp begins a session.
func lmtp(keywords ...string) (server, client []smtptest.Step) {
	reply := []string{"250-mail.example.com"}
	for _, k := range keywords {
		reply = append(reply, "250-"+k)
	}
	reply = append(reply, "250 ENHANCEDSTATUSCODES")
	s, c := says("LHLO client.example.com", reply...)
	return list(steps(smtptest.Say(lmtpGreeting)), s), list(steps(smtptest.Expect(lmtpGreeting)), c)
}

func TestAMessageOfLMTPIsCountedOnce(t *testing.T) {
	const saved, full = "250 2.0.0 saved", "552 5.2.2 mailbox full"
	for _, c := range []struct {
		answers           []string
		outcome           string
		accepted, refused int
	}{
		{[]string{saved, saved, saved}, "ok", 1, 0},
		{[]string{saved, full, saved}, "ok", 1, 0},
		{[]string{full, saved, saved}, "ok", 1, 0},
		{[]string{saved, saved, full}, "ok", 1, 0},
		{[]string{full, full, full}, "refused", 0, 1},
	} {
		server, client := lmtp()
		s, cl := lmtpMessage([]string{"b@example.net", "c@example.net", "d@example.net"}, c.answers)
		counts := play(t, list(server, s, quitServer), list(client, cl, quitClient), nil)
		wantEnd(t, counts, c.outcome)
		wantCount(t, counts, "message accepted", c.accepted)
		wantCount(t, counts, "message refused", c.refused)
	}
}

// TestAServerThatAnswersOnceForARecipientGivenTwiceIsNotWaitedFor is smtp-server
// 3.21.6. The client knows and goes on.
func TestAServerThatAnswersOnceForARecipientGivenTwiceIsNotWaitedFor(t *testing.T) {
	server, client := lmtp()
	s, c := lmtpMessage([]string{"b@example.net", "B@example.net"}, []string{"250 saved"})
	s2, c2 := lmtpMessage([]string{"b@example.net"}, []string{"250 saved"})
	counts := play(t, list(server, s, s2, quitServer), list(client, c, c2, quitClient), nil)
	wantEnd(t, counts, "ok")
	wantCount(t, counts, "message accepted", 2)
}

// TestAClientThatReadsOneReplyGoesOn is Python's smtplib.LMTP before a server that
// answers once.
func TestAClientThatReadsOneReplyGoesOn(t *testing.T) {
	server, client := lmtp("PIPELINING", "CHUNKING")
	s, c := lmtpMessage([]string{"b@example.net", "c@example.net"}, []string{"250 saved"})
	s2, c2 := lmtpMessage([]string{"b@example.net", "c@example.net"}, []string{"452 full"})
	counts := play(t, list(server, s, s2, quitServer), list(client, c, c2, quitClient), nil)
	wantEnd(t, counts, "refused")
	wantCount(t, counts, "message accepted", 1)
	wantCount(t, counts, "message refused", 1)
}

// TestAMessageWithoutARecipientIsNotWaitedFor has a server accept DATA although it has
// refused every recipient. It has nobody to answer for, and the client knows.
func TestAMessageWithoutARecipientIsNotWaitedFor(t *testing.T) {
	server, client := lmtp()
	server = list(server, steps(smtptest.Expect("MAIL FROM:<a@example.com>"), smtptest.Say("250 ok"), smtptest.Expect("RCPT TO:<b@example.net>"), smtptest.Say("550 no"),
		smtptest.Expect("DATA"), smtptest.Say("354 go ahead"), smtptest.Expect(".")), quitServer)
	client = list(client, steps(smtptest.Say("MAIL FROM:<a@example.com>"), smtptest.Expect("250 ok"), smtptest.Say("RCPT TO:<b@example.net>"), smtptest.Expect("550 no"),
		smtptest.Say("DATA"), smtptest.Expect("354 go ahead"), smtptest.Say(".")), quitClient)
	counts := play(t, server, client, nil)
	wantCount(t, counts, "message accepted", 0)
	wantCount(t, counts, "message refused", 1)
}

// TestALateReplyOfARecipientIsNoYesToAnotherMessage has the missing reply come behind
// the next commands, where it would be taken for their answers.
func TestALateReplyOfARecipientIsNoYesToAnotherMessage(t *testing.T) {
	begin := func() (server, client []smtptest.Step) {
		server, client = lmtp("CHUNKING")
		s, c := lmtpMessage([]string{"b@example.net", "c@example.net"}, []string{"250 saved"})
		mail := steps(smtptest.Say("MAIL FROM:<a@example.com>"), smtptest.Expect("250 saved late"),
			smtptest.Say("RCPT TO:<d@example.net>"), smtptest.Expect("250 2.1.0 ok"))
		return list(server, s, steps(smtptest.Expect("MAIL FROM:<a@example.com>"), smtptest.Say("250 saved late"),
			smtptest.Expect("RCPT TO:<d@example.net>"), smtptest.Say("250 2.1.0 ok"))), list(client, c, mail)
	}
	server, client := begin()
	play(t, list(server, steps(smtptest.Expect("DATA"), smtptest.Say("250 2.1.5 ok"), smtptest.ExpectEnd())),
		list(client, steps(smtptest.Say("DATA"), smtptest.Expect(broken), smtptest.ExpectEnd())), nil)
	server, client = begin()
	play(t, list(server, steps(smtptest.ExpectEnd())), list(client, steps(smtptest.Say("BDAT 0 LAST"),
		smtptest.Expect("421 4.3.0 the server answered for fewer recipients than it accepted, connect again"), smtptest.ExpectEnd())), nil)
}

func TestBDATOfLMTPGoesByDATA(t *testing.T) {
	server, _ := lmtp()
	s, _ := lmtpMessage([]string{"b@example.net", "c@example.net"}, []string{"250 saved", "452 full"})
	client := steps(smtptest.Expect(lmtpGreeting), smtptest.Say("LHLO client.example.com"),
		smtptest.Expect("250-mail.example.com", "250-ENHANCEDSTATUSCODES", "250 CHUNKING"),
		smtptest.Say("MAIL FROM:<a@example.com>"), smtptest.Expect("250 2.1.0 ok"),
		smtptest.Say("RCPT TO:<b@example.net>"), smtptest.Expect("250 2.1.5 ok"),
		smtptest.Say("RCPT TO:<c@example.net>"), smtptest.Expect("250 2.1.5 ok"),
		smtptest.Send("BDAT 6 LAST\r\ntext\r\n"), smtptest.Expect("250 saved", "452 full"))
	c := play(t, list(server, s, quitServer), list(client, quitClient), func(r *proxy.Route) { r.Rules = compile(t, "bdat-to-data") })
	wantEnd(t, c, "ok")
	wantCount(t, c, "message accepted", 1)
}
