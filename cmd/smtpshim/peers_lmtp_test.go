//go:build linux

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// postfixByLMTP is a Postfix that delivers all mail by LMTP to addr, host:port.
func postfixByLMTP(t *testing.T, addr string) *real.Server {
	return real.Postfix(t, real.Options{Settings: []string{"virtual_transport = lmtp:inet:" + addr}})
}

func TestPostfixDeliversByLMTPToDovecot(t *testing.T) {
	t.Parallel()
	for _, rules := range [][]string{{}, {"standard"}} {
		to := real.DovecotLMTP(t)
		through := startShim(t, shimOptions{server: to.Addr, rules: rules})
		from := postfixByLMTP(t, through.addr)
		users := []string{"ann", "bob", "cid"}
		var recipients []string
		for _, u := range users {
			recipients = append(recipients, u+"@example.com")
		}
		for range 2 {
			from.Sendmail(t, "Subject: hello\n\nhello\n", append([]string{"-f", "sender@example.com"}, recipients...)...)
		}
		for _, u := range users {
			if got := to.Mailbox(t, u).Messages(t, 2); len(got) != 2 {
				t.Errorf("rules %q: %d messages are stored for %s, not 2", rules, len(got), u)
			}
		}
		through.logged(t, "outcome=ok", "messages=")
		if strings.Contains(through.log.String(), "level=WARN msg=session") {
			t.Errorf("rules %q: a session failed:\n%s", rules, through.log)
		}
	}
}

func TestPostfixDeliversByLMTPToSMTPSink(t *testing.T) {
	t.Parallel()
	to := real.SMTPSink(t, "-L")
	through := startShim(t, shimOptions{server: to.Addr})
	postfixByLMTP(t, through.addr).Sendmail(t, "Subject: hello\n\nhello\n", "-f", "sender@example.com", "ann@example.com", "bob@example.com")
	through.logged(t, "outcome=ok", "messages=1")
	if got := to.Messages(t, 1); len(got) != 1 {
		t.Errorf("%d messages are stored, not 1", len(got))
	}
}

// TestSMTPLIBDeliversByLMTPToDovecot has Python's client, which reads one reply to a
// message, send two messages by a socket in the file system.
func TestSMTPLIBDeliversByLMTPToDovecot(t *testing.T) {
	t.Parallel()
	to := real.DovecotLMTP(t)
	socket := filepath.Join(real.Dir(t), "in")
	startShim(t, shimOptions{server: to.Addr, routeSays: "[[route]]\nname = \"socket\"\nlisten = [\"unix:" + socket + "\"]\nservers = [\"" + to.Addr + "\"]\n"})
	real.Python(t, `
import smtplib, sys
s = smtplib.LMTP(sys.argv[1])
s.sendmail('a@example.com', ['ann@example.com', 'bob@example.com'], 'Subject: hello\r\n\r\nhello\r\n')
s.quit()
`, socket)
	for _, u := range []string{"ann", "bob"} {
		if got := to.Mailbox(t, u).Messages(t, 1); len(got) != 1 {
			t.Errorf("%d messages are stored for %s, not 1", len(got), u)
		}
	}
}
