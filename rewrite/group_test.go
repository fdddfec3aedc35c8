package rewrite_test

import (
	"net/netip"
	"testing"

	"smtpshim/rewrite"
)

// Some servers throw away a group of commands but for its last one. The yes to that
// must not be taken for the answer to the first.
func TestNothingJoinsAGroupWhoseYesCouldBeTakenForAnother(t *testing.T) {
	for line, joins := range map[string]bool{
		"RCPT TO:<c@example.net>": true, "RSET": true, "DATA": true,
		"QUIT": false, "quit": false, "NOOP": false, "VRFY a": false, "HELP": false, "EXPN a": false, "ETRN example.com": false, "X": false, "EHLO c": false,
	} {
		for name, rules := range map[string]*rewrite.Rules{"no rules": nil, "standard": compile(t, "standard")} {
			d := rewrite.New(&rewrite.Policy{Rules: rules}, netip.MustParseAddr("192.0.2.7"), &kept{})
			d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
			d.Command([]byte("EHLO client.example.com\r\n"), false)
			d.Reply([]byte("250-mail.example.com\r\n250 PIPELINING\r\n"), false, false)
			for _, command := range []string{"MAIL FROM:<a@example.com>\r\n", "RCPT TO:<b@example.net>\r\n"} {
				if !d.Command([]byte(command), true) {
					t.Fatalf("%s: %q does not join the group", name, command)
				}
			}
			if joined := d.Command([]byte(line+"\r\n"), false); joined != joins {
				t.Errorf("%s: %q joins a group: %v, want %v", name, line, joined, joins)
			}
			if joins {
				continue
			}
			for range 2 {
				if d.Next(true) != rewrite.AwaitReply {
					t.Errorf("%s: before %q the replies to the group are not waited for", name, line)
				}
				d.Reply([]byte("250 ok\r\n"), true, false)
			}
			if !d.Command([]byte(line+"\r\n"), false) {
				t.Errorf("%s: %q is not taken once the group is answered", name, line)
			}
		}
	}
}
