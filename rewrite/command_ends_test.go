package rewrite_test

import (
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
)

// wrongEnds are ends of lines that are meant as CRLF.
var wrongEnds = map[string]string{"LF": "\n", "CR CR LF": "\r\r\n", "CR CR CR LF": "\r\r\r\n"}

func TestCommandsMayEndWithLFOrCRCRLF(t *testing.T) {
	for name, end := range wrongEnds {
		t.Run(name, func(t *testing.T) {
			d, k := begin(t, standard(t))
			for _, c := range []struct{ command, reply string }{
				{"EHLO client.example.net", "250-mail.example.com\r\n250 AUTH LOGIN\r\n"},
				{"AUTH LOGIN", "334 VXNlcm5hbWU6\r\n"},
				{"dXNlcg==", "334 UGFzc3dvcmQ6\r\n"},
				{"", "535 5.7.8 no\r\n"},
				{"", "500 5.5.2 what?\r\n"},
				{"MAIL FROM:<a@example.net>", "250 ok\r\n"},
				{"RCPT TO:<b@example.com>", "250 ok\r\n"},
				{"DATA", "354 go on\r\n"},
			} {
				if d.Next(false) == rewrite.AwaitSASL {
					d.SASL([]byte(c.command + end))
				} else if !d.Command([]byte(c.command+end), false) {
					t.Fatalf("%q is not taken", c.command)
				}
				if got := string(d.ToServer); got != c.command+"\r\n" {
					t.Fatalf("%q: the server gets %q", c.command, got)
				}
				d.ToServer = nil
				d.Reply([]byte(c.reply), false, false)
			}
			if d.Next(false) != rewrite.AwaitMessage {
				t.Errorf("behind DATA the dialogue waits for %d", d.Next(false))
			}
			if n := len(k.applied); n != 8 || slices.ContainsFunc(k.applied, func(rule string) bool { return rule != "command-ends" }) {
				t.Errorf("applied: %q", k.applied)
			}
		})
	}
}

// A message has the ends of lines that it had, whatever the commands end with.
func TestMessagesDoNotEndWhereCommandsMay(t *testing.T) {
	for name, end := range wrongEnds {
		t.Run(name, func(t *testing.T) {
			d, _ := begin(t, standard(t))
			for _, command := range []string{"MAIL FROM:<a@example.net>", "RCPT TO:<b@example.com>"} {
				d.Command([]byte(command+end), false)
				d.Reply([]byte("250 ok\r\n"), false, false)
			}
			d.Command([]byte("DATA"+end), false)
			d.Reply([]byte("354 go on\r\n"), false, false)
			text := "x" + end + "." + end + "MAIL FROM:<c@example.net>" + end
			out, n, ended := d.Text().Next(nil, []byte(text))
			if ended {
				t.Errorf("a message ends within %q, behind %d octets: %q", text, n, out)
			}
		})
	}
}

func TestWhatIsNoCommandStaysNone(t *testing.T) {
	for _, raw := range []string{
		"NOOP\x00\n", "NOOP\x00\r\n", "NOOP\rQUIT\n", "NOOP\rQUIT\r\r\n", "\rNOOP\r\n", "\rNOOP\n", "NOOP\r\x00\n",
		"BDAT 5\n", "bdat 5 LAST\n", "BDAT 5\r\r\n", " BDAT 5\n",
	} {
		d, k := begin(t, standard(t))
		d.Command([]byte(raw), true)
		if len(d.ToServer) > 0 || len(k.applied) > 0 || !strings.HasPrefix(string(d.ToClient), "50") {
			t.Errorf("%q: the server gets %q, the client %q", raw, d.ToServer, d.ToClient)
		}
	}
	d, _ := begin(t, nil)
	if d.Command([]byte("NOOP\n"), false); len(d.ToServer) > 0 {
		t.Errorf("without rules the server gets %q", d.ToServer)
	}
}

// What stands in clear behind STARTTLS ends the session, whatever ends the command.
func TestNothingMayStandBehindASTARTTLSThatEndsWithLF(t *testing.T) {
	for name, end := range wrongEnds {
		d, _ := begin(t, standard(t))
		d.Command([]byte("STARTTLS"+end), true)
		if d.Next(false) != rewrite.End || len(d.ToServer) > 0 {
			t.Errorf("%s: the server gets %q, the client %q", name, d.ToServer, d.ToClient)
		}
	}
}
