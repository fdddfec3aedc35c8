package smtptest

import (
	"bytes"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each test is a founding article: the two peers as they are, nothing between.

var testMessage = Message{
	From: "a@example.com",
	To:   []string{"b@example.net", "c@example.net"},
	Body: []byte("Subject: dots\r\n\r\n.\r\n..\r\nbare\nLF\x00\xff\r\n"),
}

func start(t *testing.T, s Server) (*Running, Dial) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Timeout = time.Minute
	r := s.Start(l)
	t.Cleanup(func() { r.Close() })
	return r, func() (net.Conn, error) { return net.Dial("tcp", r.Addr()) }
}

func server(t *testing.T, name string) Server {
	t.Helper()
	s, ok := LookupServer(name)
	if !ok {
		t.Fatalf("no server %q", name)
	}
	return s
}

func client(t *testing.T, name string) Client {
	t.Helper()
	c, ok := LookupClient(name)
	if !ok {
		t.Fatalf("no client %q", name)
	}
	c.Timeout = time.Minute
	return c
}

func wantOutcome(t *testing.T, got Result, outcome Outcome, ndr string) {
	t.Helper()
	if got.Outcome != outcome || got.NDR != ndr || got.Err != nil {
		t.Fatalf("%v, NDR %q, error %v; want %v, %q\n%s", got.Outcome, got.NDR, got.Err, outcome, ndr, got.Dialogue)
	}
}

func wantSaid(t *testing.T, d Dialogue, side string, want ...string) {
	t.Helper()
	if got := d.Said(side); !slices.Equal(got, want) {
		t.Fatalf("%s said\n%s\nwant\n%s", side, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func wantMessages(t *testing.T, r *Running, n int) {
	t.Helper()
	r.Wait()
	got := r.Messages()
	if len(got) != n {
		t.Fatalf("%d messages at the server, want %d", len(got), n)
	}
	for _, m := range got {
		if m.From != testMessage.From || !slices.Equal(m.To, testMessage.To) || !bytes.Equal(m.Body, testMessage.Body) {
			t.Fatalf("the server has %q, want %q", m, testMessage)
		}
	}
}

func testTLS(t *testing.T) (forServer, forClient *tls.Config) {
	t.Helper()
	certificate, pool, err := Certificate("mail.example.com", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}},
		&tls.Config{RootCAs: pool, ServerName: "mail.example.com"}
}

func TestQ164060AGreetingWithoutESMTPKeepsTheClientOnHELO(t *testing.T) {
	_, dial := start(t, server(t, "exchange-5.0"))
	r := client(t, "needs-esmtp").Deliver(dial, testMessage)
	wantOutcome(t, r, Delivered, "")
	wantSaid(t, r.Dialogue, "C",
		"HELO client.example.com",
		"MAIL FROM:<a@example.com>", // no SIZE
		"RCPT TO:<b@example.net>",
		"RCPT TO:<c@example.net>",
		"DATA",
		"QUIT")
	for _, line := range r.Dialogue.Said("S") {
		if strings.Contains(line, "SIZE") || strings.Contains(line, "AUTH") {
			t.Errorf("%q was heard after HELO", line)
		}
	}

	_, dial = start(t, server(t, "modern"))
	r = client(t, "needs-esmtp").Deliver(dial, testMessage)
	wantOutcome(t, r, Delivered, "")
	if said := r.Dialogue.Said("C"); said[0] != "EHLO client.example.com" || said[1] != "MAIL FROM:<a@example.com> SIZE=35" {
		t.Errorf("with the word in the greeting the client said %q", said)
	}
}

func TestQ195201Exchange50BouncesWithoutXAUTH(t *testing.T) {
	for _, name := range []string{"exchange-5.5", "modern", "sendmail-8.6"} {
		running, dial := start(t, server(t, name))
		r := client(t, "exchange-5.0").Deliver(dial, testMessage)
		wantOutcome(t, r, Bounced, "502 Server does not support AUTH.")
		wantSaid(t, r.Dialogue, "C", "EHLO client.example.com", "QUIT")
		wantMessages(t, running, 0)
	}
}

func TestQ195201Exchange50DoesNotKnowAUTH(t *testing.T) {
	running, dial := start(t, server(t, "exchange-5.0"))
	r := client(t, "exchange-5.5").WithAuth(AuthInitial).Deliver(dial, testMessage)
	wantOutcome(t, r, Bounced, "500 command not recognized")
	wantSaid(t, r.Dialogue, "C", "EHLO client.example.com", "AUTH NTLM "+NTLM1(false), "QUIT")
	wantMessages(t, running, 0)
}

func TestQ279214TheFirstMessageBouncesAndTheSecondPasses(t *testing.T) {
	for _, name := range []string{"iis-4", "iis-5"} {
		s, c := server(t, name), client(t, "exchange-5.5")
		s.TLS, c.TLS = testTLS(t)
		running, dial := start(t, s)

		r := c.Deliver(dial, testMessage)
		wantOutcome(t, r, Bounced, "505 Must issue a STARTTLS command first")
		said := r.Dialogue.Said("C")
		if len(said) != 4 || said[1] != "STARTTLS" || !strings.HasPrefix(said[2], "MAIL FROM:<a@example.com>") || said[3] != "QUIT" {
			t.Fatalf("the client said %q", said)
		}
		if heard := r.Dialogue.Said("S"); !slices.Contains(heard, "220 SMTP server ready") {
			t.Fatalf("the client heard %q", heard)
		}
		wantMessages(t, running, 0)

		wantOutcome(t, c.Deliver(dial, testMessage), Delivered, "")
		wantMessages(t, running, 1)
	}
}

func TestKB912341ASlow354MakesCopies(t *testing.T) {
	running, dial := start(t, server(t, "modern").SlowData(10*time.Second))
	results := client(t, "windows-2003").DeliverUntilDone(dial, testMessage, 3)
	if len(results) != 3 {
		t.Fatalf("%d attempts, want 3", len(results))
	}
	for _, r := range results {
		wantOutcome(t, r, Queued, "")
	}
	said := results[0].Dialogue
	tail := said[len(said)-8:].String()
	want := "C: DATA\n" +
		"S: 354-Line 1\n" +
		"~ message 35 bytes\n" +
		"S: 354 Send message\n" + // taken for the answer to the message
		"C: RSET\n" +
		"S: 250 2.0.0 Ok: queued as 1@mail.example.com\n" + // and this for the one to RSET
		"C: QUIT\n" +
		"S: 250 2.0.0 Ok\n"
	if tail != want {
		t.Fatalf("the dialogue ends\n%s\nwant\n%s", tail, want)
	}
	wantMessages(t, running, 3)
}

func TestKB912341AFast354DoesNoHarm(t *testing.T) {
	running, dial := start(t, server(t, "modern").SlowData(0))
	results := client(t, "windows-2003").DeliverUntilDone(dial, testMessage, 3)
	wantOutcome(t, results[0], Delivered, "")
	wantMessages(t, running, 1)

	always := client(t, "windows-2003")
	always.FirstLine = FirstLineAlways
	running, dial = start(t, server(t, "modern").SlowData(0))
	for _, r := range always.DeliverUntilDone(dial, testMessage, 2) {
		wantOutcome(t, r, Queued, "")
	}
	wantMessages(t, running, 2)
}

func TestKB912341AClientThatWaitsIsNotHarmed(t *testing.T) {
	gap := make(chan struct{})
	s := server(t, "modern").SlowData(0)
	s.GapFunc = func() { close(gap) }
	running, dial := start(t, s)
	wantOutcome(t, client(t, "modern").Deliver(dial, testMessage), Delivered, "")
	<-gap
	wantMessages(t, running, 1)

	running, dial = start(t, server(t, "modern").SlowData(time.Millisecond))
	wantOutcome(t, client(t, "modern").Deliver(dial, testMessage), Delivered, "")
	wantMessages(t, running, 1)
}

func TestQ240832ATrailingDotStopsMail(t *testing.T) {
	for _, name := range []string{"iis-4", "iis-5", "mcis-2"} {
		running, dial := start(t, server(t, name))
		r := client(t, "notes").Deliver(dial, testMessage)
		wantOutcome(t, r, Queued, "")
		wantSaid(t, r.Dialogue, "C", "EHLO sub2.", "HELO sub2.", "QUIT")
		heard := r.Dialogue.Said("S")
		if n := len(heard); heard[n-3] != "501 Invalid Address" || heard[n-2] != "501 Invalid Address" {
			t.Fatalf("%s said %q", name, heard)
		}
		wantMessages(t, running, 0)

		c := client(t, "notes")
		c.Hello = "sub2"
		wantOutcome(t, c.Deliver(dial, testMessage), Delivered, "")
		wantMessages(t, running, 1)
	}
}
