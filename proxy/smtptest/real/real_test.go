//go:build linux

package real

import (
	"strings"
	"testing"
	"time"
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

func TestPostfixKnowsCurlByToken(t *testing.T) {
	t.Parallel()
	key, other := NewTokenKey(t), NewTokenKey(t)
	to := Postfix(t, Options{TokenKey: key.File})
	for name, k := range map[string]*TokenKey{"right": key, "wrong": other} {
		token, err := k.Token("user@example.com", time.Now().Add(time.Hour), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, mechanism := range []string{"XOAUTH2", "OAUTHBEARER"} {
			out, status := Curl(t, to.Addr, "Subject: token\n\nhello\n", "--login-options", "AUTH="+mechanism, "--user", "user@example.com", "--oauth2-bearer", token)
			if (status == 0) != (name == "right") {
				t.Errorf("%s, %s key: curl ended with %d: %s", mechanism, name, status, out)
			}
		}
	}
	stored(t, to, 2, "hello")
}

func TestServersTakeMailFromUsersAlone(t *testing.T) {
	t.Parallel()
	users, mechanisms := map[string]string{"user": "right"}, []string{"CRAM-MD5", "PLAIN", "LOGIN"}
	for name, to := range map[string]*Server{
		"Postfix with Cyrus SASL": Postfix(t, Options{Users: users, Mechanisms: append([]string{"SCRAM-SHA-256"}, mechanisms...)}),
		"Exim":                    Exim(t, Options{Users: users, Mechanisms: mechanisms}),
	} {
		for _, m := range mechanisms {
			for password, code := range map[string]string{"right": " 235 ", "wrong": " 535 "} {
				out, status := Swaks(t, to.Addr, "--auth", m, "--auth-user", "user", "--auth-password", password, "--body", "hello")
				if (status == 0) != (password == "right") || !strings.Contains(out, code) {
					t.Errorf("%s, %s, %s: swaks ended with %d: %s", name, m, password, status, out)
				}
			}
		}
		if out, status := Swaks(t, to.Addr, "--body", "hello"); status == 0 {
			t.Errorf("%s took mail from nobody: %s", name, out)
		}
		stored(t, to, len(mechanisms), "hello")
	}
}

func TestEximLogsInToExim(t *testing.T) {
	t.Parallel()
	for _, m := range []string{"NTLM", "CRAM-MD5", "PLAIN", "LOGIN"} {
		to := Exim(t, Options{Users: map[string]string{"user": "right"}, Mechanisms: []string{m}})
		from := Exim(t, Options{Relay: to.Addr, Login: "user:right", Mechanisms: []string{m}})
		from.Sendmail(t, "Subject: queued\n\nhello\n", "-f", "sender@example.com", "recipient@example.com")
		stored(t, to, 1, "hello")
	}
}

func TestMailProgramsReachPostfixWithPassword(t *testing.T) {
	t.Parallel()
	to := Postfix(t, Options{Users: map[string]string{"user": "right"}, Mechanisms: []string{"CRAM-MD5"}})
	if out, status := Msmtp(t, to.Addr, "Subject: msmtp\n\nhello\n", "--auth=cram-md5", "--user=user", "--passwordeval=echo right"); status != 0 {
		t.Errorf("msmtp ended with %d: %s", status, out)
	}
	if out, status := Mutt(t, to.Addr, "hello\n", "user:right", "set ssl_starttls=no ssl_force_tls=no smtp_authenticators=cram-md5"); status != 0 {
		t.Errorf("mutt ended with %d: %s", status, out)
	}
	stored(t, to, 2, "hello")
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
