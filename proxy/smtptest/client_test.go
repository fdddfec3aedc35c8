package smtptest

import (
	"errors"
	"net"
	"testing"
)

// deliver lets a client deliver to a scripted server.
func deliver(t *testing.T, c Client, m Message, steps ...Step) Result {
	t.Helper()
	ours, theirs := net.Pipe()
	played := make(chan error, 1)
	go func() {
		err := Play(theirs, testTimeout, steps...)
		theirs.Close()
		played <- err
	}()
	r := c.Deliver(func() (net.Conn, error) { return ours, nil }, m)
	if err := <-played; err != nil {
		t.Fatal(err)
	}
	return r
}

func TestARepliesClassDecidesWhatBecomesOfTheMessage(t *testing.T) {
	hello := []Step{Say("220 x ESMTP"), Expect("EHLO client.example.com"), Say("250-x", "250 SIZE")}
	mail := append(hello[:3:3], Expect("MAIL FROM:<> SIZE=0"))
	data := append(mail[:4:4], Say("250 ok"), Expect("RCPT TO:<b@example.net>"), Say("250 ok"), Expect("DATA"))
	body := append(data[:8:8], Say("354 go"), Expect("."))
	quit := []Step{Expect("QUIT"), Say("221 bye"), ExpectEnd()}
	for _, test := range []struct {
		name    string
		before  []Step
		reply   string
		outcome Outcome
		reset   bool
	}{
		{"greeting", nil, "421 later", Queued, false},
		{"greeting", nil, "554 no", Bounced, false},
		{"MAIL", mail, "451 later", Queued, false},
		{"MAIL", mail, "505 no", Bounced, false},
		{"DATA", data, "451 later", Queued, false},
		{"DATA", data, "554 no", Bounced, false},
		{"message", body, "250 ok", Delivered, false},
		{"message", body, "354 go", Queued, true},
		{"message", body, "452 later", Queued, true},
		{"message", body, "554 no", Bounced, false},
	} {
		t.Run(test.name+" "+test.reply, func(t *testing.T) {
			steps := append(test.before[:len(test.before):len(test.before)], Say(test.reply))
			if test.reset {
				steps = append(steps, Expect("RSET"), Say("250 ok"))
			}
			r := deliver(t, client(t, "exchange-5.5"), Message{To: []string{"b@example.net"}}, append(steps, quit...)...)
			ndr := ""
			if test.outcome == Bounced {
				ndr = test.reply
			}
			wantOutcome(t, r, test.outcome, ndr)
		})
	}
}

func TestExchange55SaysHELOAfterAnyError(t *testing.T) {
	for _, refusal := range []string{"500 what", "421 later", "554 no"} {
		r := deliver(t, client(t, "exchange-5.5"), testMessage,
			Say("220 x"), Expect("EHLO client.example.com"), Say(refusal),
			Expect("HELO client.example.com"), Say("501 syntactically invalid HELO argument(s)"),
			Expect("QUIT"), Say("221 bye"), ExpectEnd())
		wantOutcome(t, r, Bounced, "501 syntactically invalid HELO argument(s)")
	}
}

func TestALostConnectionLeavesTheMessageQueued(t *testing.T) {
	refused := errors.New("refused")
	c := client(t, "exchange-5.5")
	r := c.Deliver(func() (net.Conn, error) { return nil, refused }, testMessage)
	if r.Outcome != Queued || !errors.Is(r.Err, refused) {
		t.Errorf("nobody there: %v, %v", r.Outcome, r.Err)
	}
	for _, reply := range []string{"", "x\r\n", "22", "abc def\r\n"} {
		r = deliver(t, c, testMessage, Send(reply))
		if r.Outcome != Queued || r.Err == nil {
			t.Errorf("%q: %v, %v", reply, r.Outcome, r.Err)
		}
	}
	s := server(t, "sendmail-8.6")
	s.HangsUp = true
	_, dial := start(t, s)
	if r = c.Deliver(dial, testMessage); r.Outcome != Queued || r.Err == nil {
		t.Errorf("hung up on EHLO: %v, %v", r.Outcome, r.Err)
	}
}

func TestNothingGoesInClearWhenTLSIsWanted(t *testing.T) {
	running, dial := start(t, server(t, "modern"))
	c := client(t, "modern")
	_, c.TLS = testTLS(t)
	r := c.Deliver(dial, testMessage)
	wantOutcome(t, r, Queued, "")
	wantSaid(t, r.Dialogue, "C", "EHLO client.example.com", "QUIT")
	wantMessages(t, running, 0)
}

func TestAuthenticationUnderTLS(t *testing.T) {
	s, c := server(t, "modern").WithAuth(AuthInitial), client(t, "modern").WithAuth(AuthInitial)
	s.TLS, c.TLS = testTLS(t)
	running, dial := start(t, s)
	r := c.Deliver(dial, testMessage)
	wantOutcome(t, r, Delivered, "")
	wantMessages(t, running, 1)
	ehlo, after := 0, 0
	for _, line := range r.Dialogue {
		switch {
		case line.Text == "EHLO client.example.com":
			ehlo++
		case offers(line.Text[min(4, len(line.Text)):], "STARTTLS") && line.Side == "S":
			after = ehlo
		}
	}
	if ehlo != 2 || after != 1 {
		t.Errorf("EHLO said %d times, STARTTLS last offered after number %d", ehlo, after)
	}
}
