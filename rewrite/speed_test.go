package rewrite_test

import (
	"net/netip"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

var mailClient = netip.MustParseAddr("192.0.2.7")

// session is a dialogue past EHLO, with the standard rules.
func session(t testing.TB) *rewrite.Dialogue {
	t.Helper()
	rules, errs := heal.Compile([]string{"standard"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	d := rewrite.New(&rewrite.Policy{Rules: rules, Turns: rewrite.NewTurns(4), Limits: rewrite.Limits{Errors: 20}}, mailClient, silent{})
	d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
	ask(d, []byte("EHLO client.example.net\r\n"), ehloReply)
	return d
}

var ehloReply = []byte("250-mail.example.com\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-ETRN\r\n250-AUTH PLAIN LOGIN\r\n" +
	"250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250 DSN\r\n")

// ask is a command and its reply, as a proxy that empties the buffers.
func ask(d *rewrite.Dialogue, command, reply []byte) {
	d.Command(command, false)
	d.ToServer = d.ToServer[:0]
	d.Reply(reply, false, false)
	d.ToClient = d.ToClient[:0]
}

func TestACommandThatNoRuleWantsCostsNoAllocation(t *testing.T) {
	reply := []byte("250 2.1.0 Ok\r\n")
	for _, line := range []string{"MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "NOOP", "RSET", "VRFY b", "XYZZY"} {
		d := session(t)
		command := []byte(line + "\r\n")
		if n := testing.AllocsPerRun(100, func() { ask(d, command, reply) }); n != 0 {
			t.Errorf("%s costs %v allocations", line, n)
		}
		if d.Next(false) != rewrite.AwaitCommand {
			t.Fatalf("after %s the dialogue waits for %d", line, d.Next(false))
		}
	}
}

func BenchmarkCommandWithoutRule(b *testing.B) {
	d := session(b)
	command, reply := []byte("RCPT TO:<b@example.net>\r\n"), []byte("250 2.1.5 Ok\r\n")
	b.ReportAllocs()
	for b.Loop() {
		ask(d, command, reply)
	}
}

func BenchmarkEHLOReply(b *testing.B) {
	d := session(b)
	command := []byte("EHLO client.example.net\r\n")
	b.ReportAllocs()
	for b.Loop() {
		ask(d, command, ehloReply)
	}
}

// BenchmarkSession is all that is decided in a session of one message.
func BenchmarkSession(b *testing.B) {
	rules, errs := heal.Compile([]string{"standard"}, nil)
	if errs != nil {
		b.Fatal(errs)
	}
	policy := &rewrite.Policy{Rules: rules, Turns: rewrite.NewTurns(4), Limits: rewrite.Limits{Errors: 20}}
	ok := []byte("250 2.1.0 Ok\r\n")
	b.ReportAllocs()
	for b.Loop() {
		d := rewrite.New(policy, mailClient, silent{})
		d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
		ask(d, []byte("EHLO client.example.net\r\n"), ehloReply)
		ask(d, []byte("MAIL FROM:<a@example.com>\r\n"), ok)
		ask(d, []byte("RCPT TO:<b@example.net>\r\n"), ok)
		ask(d, []byte("DATA\r\n"), []byte("354 go ahead\r\n"))
		d.MessageEnd(1000)
		d.Reply(ok, false, false)
		ask(d, []byte("QUIT\r\n"), []byte("221 2.0.0 Bye\r\n"))
	}
}
