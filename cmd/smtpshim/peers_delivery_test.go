//go:build linux

package main

import (
	"strings"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

func TestSwaksDeliversToEveryServer(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) *real.Server{
		"postfix":   func(t *testing.T) *real.Server { return real.Postfix(t, real.Options{}) },
		"exim":      func(t *testing.T) *real.Server { return real.Exim(t, real.Options{}) },
		"smtp-sink": func(t *testing.T) *real.Server { return real.SMTPSink(t) },
	} {
		t.Run(name, func(t *testing.T) {
			to := start(t)
			through := startShim(t, shimOptions{server: to.Addr})
			swaks(t, through.addr, "hello")
			wantStored(t, to, 1, "hello")
		})
	}
}

func TestTLSIsOfferedToTheClient(t *testing.T) {
	t.Parallel()
	to := real.Exim(t, real.Options{})
	ca := real.NewCA(t)
	through := startShim(t, shimOptions{server: to.Addr, clientTLS: "offer", ca: ca})
	out := swaks(t, through.addr, "over TLS", "--tls", "--tls-verify", "--tls-ca-path", ca.File)
	if !strings.Contains(out, "=== TLS started") {
		t.Errorf("swaks began no TLS: %s", out)
	}
	swaks(t, through.addr, "in clear")
	if got := to.Messages(t, 2); len(got) != 2 {
		t.Errorf("%d messages were stored instead of 2", len(got))
	}
}

func TestTLSIsRequiredOfTheServer(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	to := real.Postfix(t, real.Options{CA: ca, Settings: []string{"smtpd_tls_received_header = yes"}})
	through := startShim(t, shimOptions{server: to.Addr, serverTLS: "require", ca: ca})
	swaks(t, through.addr, "hello")
	got := wantStored(t, to, 1, "hello")
	if !strings.Contains(got[0].Header, "(using TLS") {
		t.Errorf("Postfix saw no TLS:\n%s", got[0].Header)
	}
}

func TestAServerOfAnotherAuthorityGetsNoMail(t *testing.T) {
	t.Parallel()
	to := real.Postfix(t, real.Options{CA: real.NewCA(t)})
	through := startShim(t, shimOptions{server: to.Addr, serverTLS: "require", ca: real.NewCA(t)})
	out, status := real.Swaks(t, through.addr)
	if status == 0 {
		t.Errorf("swaks was told that the mail had been taken: %s", out)
	}
	if !strings.Contains(out, "<** 4") {
		t.Errorf("swaks was not told to try again: %s", out)
	}
}

func TestSMTPSourceDeliversToPostfix(t *testing.T) {
	t.Parallel()
	to := real.Postfix(t, real.Options{})
	through := startShim(t, shimOptions{server: to.Addr})
	if out, status := real.SMTPSource(t, through.addr, "-m", "100", "-s", "5", "-l", "20000"); status != 0 {
		t.Fatalf("smtp-source ended with %d: %s", status, out)
	}
	wantStored(t, to, 100, "1XXX")
}

func TestAQueueIsDelivered(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	for name, to := range map[string]*real.Server{
		"postfix to postfix": real.Postfix(t, real.Options{CA: ca}),
		"postfix to exim":    real.Exim(t, real.Options{CA: ca}),
	} {
		t.Run(name, func(t *testing.T) {
			through := startShim(t, shimOptions{server: to.Addr, clientTLS: "offer", serverTLS: "require", ca: ca})
			from := real.Postfix(t, real.Options{Relay: through.addr, RelayTLS: "verify", CA: ca})
			for range 3 {
				from.Sendmail(t, "Subject: queued\n\nhello\n.\n..two\n", "-i", "-f", "sender@example.com", "recipient@example.com")
			}
			wantStored(t, to, 3, "hello\n.\n..two\n")
		})
	}
}

func TestEximDeliversInChunks(t *testing.T) {
	t.Parallel()
	to := real.Postfix(t, real.Options{})
	tp := newTap(t, to.Addr)
	through := startShim(t, shimOptions{server: tp.addr})
	from := real.Exim(t, real.Options{Relay: through.addr})
	from.Sendmail(t, "Subject: chunks\n\nhello\n.\n..two\n", "-f", "sender@example.com", "recipient@example.com")
	wantStored(t, to, 1, "hello\n.\n..two\n")
	if said := tp.wait(t); !strings.Contains(string(said.client), "\r\nBDAT ") {
		t.Errorf("Exim said no BDAT: %q", said.client)
	}
}

// swaks sends a message with a body and returns the dialogue.
func swaks(t *testing.T, addr, body string, args ...string) string {
	t.Helper()
	out, status := real.Swaks(t, addr, append(args, "--body", body)...)
	if status != 0 {
		t.Fatalf("swaks ended with %d: %s", status, out)
	}
	return out
}

// wantStored waits for n messages whose bodies begin with text, and wants no others.
func wantStored(t *testing.T, to *real.Server, n int, text string) []real.Message {
	t.Helper()
	got := to.Messages(t, n)
	if len(got) != n {
		t.Errorf("%d messages were stored instead of %d", len(got), n)
	}
	for _, m := range got {
		if !strings.HasPrefix(string(m.Body), text) {
			t.Errorf("the body stored begins with %.200q", m.Body)
		}
	}
	return got
}
