//go:build linux

package real

import (
	"strings"
	"testing"
)

// These tests prove the peers against each other, with nothing between: where one
// of them fails, a test through smtpshim says nothing.

func TestSwaksReachesPostfixWithTLSAndPassword(t *testing.T) {
	t.Parallel()
	to := Postfix(t, Options{CA: NewCA(t), Users: map[string]string{"user": "right"}})
	out, status := Swaks(t, to.Addr, "--tls", "--auth", "PLAIN", "--auth-user", "user", "--auth-password", "right", "--body", "hello")
	if status != 0 {
		t.Fatalf("swaks ended with %d: %s", status, out)
	}
	stored(t, to, 1, "hello")
	if out, status := Swaks(t, to.Addr, "--auth", "PLAIN", "--auth-user", "user", "--auth-password", "wrong"); status == 0 {
		t.Errorf("Postfix took a wrong password: %s", out)
	}
}

func TestSwaksReachesEximWithTLS(t *testing.T) {
	t.Parallel()
	to := Exim(t, Options{CA: NewCA(t)})
	if out, status := Swaks(t, to.Addr, "--tls", "--body", "hello"); status != 0 {
		t.Fatalf("swaks ended with %d: %s", status, out)
	}
	stored(t, to, 1, "hello")
}

func TestSMTPSourceReachesSMTPSink(t *testing.T) {
	t.Parallel()
	to := SMTPSink(t)
	if out, status := SMTPSource(t, to.Addr, "-m", "10", "-s", "3"); status != 0 {
		t.Fatalf("smtp-source ended with %d: %s", status, out)
	}
	stored(t, to, 10, "La de da")
}

func TestEximKnowsCurlByNTLM(t *testing.T) {
	t.Parallel()
	to := Exim(t, Options{Users: map[string]string{"user": "right"}})
	for password, reply := range map[string]string{"right": "< 235 ", "wrong": "< 535 "} {
		out, status := Curl(t, to.Addr, "Subject: ntlm\n\nhello\n", "--login-options", "AUTH=NTLM", "--user", "user:"+password)
		if (status == 0) != (password == "right") || !strings.Contains(out, reply) {
			t.Errorf("with the %s password curl ended with %d: %s", password, status, out)
		}
	}
	stored(t, to, 1, "hello")
}

func TestQueuesAreDelivered(t *testing.T) {
	t.Parallel()
	ca := NewCA(t)
	to := Postfix(t, Options{CA: ca, Users: map[string]string{"user": "right"}})
	for _, from := range []*Server{
		Postfix(t, Options{Relay: to.Addr, RelayTLS: "verify", CA: ca, Login: "user:right"}),
		Exim(t, Options{Relay: to.Addr}),
	} {
		from.Sendmail(t, "Subject: queued\n\nhello\n", "-f", "sender@example.com", "recipient@example.com")
	}
	stored(t, to, 2, "hello")
}

// stored waits for n messages whose bodies begin with text, and wants no others.
func stored(t *testing.T, s *Server, n int, text string) {
	t.Helper()
	got := s.Messages(t, n)
	if len(got) != n {
		t.Errorf("%d messages were stored instead of %d", len(got), n)
	}
	for _, m := range got {
		if !strings.HasPrefix(string(m.Body), text) {
			t.Errorf("stored was %q", m.Body)
		}
	}
}
