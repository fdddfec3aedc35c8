//go:build linux

package main

import (
	"bufio"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// TestDovecotAnswersForEachRecipientThatItTakes sends a group with a recipient whom
// Dovecot refuses, from socket to socket in the file system.
func TestDovecotAnswersForEachRecipientThatItTakes(t *testing.T) {
	t.Parallel()
	to := real.DovecotLMTP(t)
	for _, rules := range []string{"", "\"standard\""} {
		socket := filepath.Join(real.Dir(t), "in")
		startShim(t, shimOptions{server: to.Addr, routeSays: "[[route]]\nname = \"socket\"\nlisten = [\"unix:" + socket + "\"]\nservers = [\"" + to.Addr + "\"]\n" +
			"rules = [" + rules + "]\n"})
		var conn net.Conn
		real.Wait(t, "the socket", func() (ok bool) {
			var err error
			conn, err = net.Dial("unix", socket)
			return err == nil
		})
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(2 * time.Minute))
		c := &client{t, conn, bufio.NewReader(conn)}
		c.hear("220")
		c.say("LHLO client.example.com")
		c.send([]byte("MAIL FROM:<a@example.com>\r\nRCPT TO:<ann@example.com>\r\nRCPT TO:<nobody@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n"))
		for _, code := range []string{"250", "250", "550", "250", "354"} {
			c.hear(code)
		}
		c.send([]byte("Subject: hello\r\n\r\nhello\r\n.\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<cid@example.com>\r\nDATA\r\n"))
		for _, reply := range []string{"250 2.0.0 <ann@example.com>", "250 2.0.0 <bob@example.com>", "250", "250", "354"} {
			c.hear(reply)
		}
		c.send([]byte("Subject: hello\r\n\r\nhello\r\n.\r\nQUIT\r\n"))
		c.hear("250 2.0.0 <cid@example.com>")
		c.hear("221")
	}
	for _, u := range []string{"ann", "bob", "cid"} {
		if got := to.Mailbox(t, u).Messages(t, 2); len(got) != 2 {
			t.Errorf("%d messages are stored for %s, not 2", len(got), u)
		}
	}
}
