package rewrite_test

import (
	"net/netip"
	"testing"

	"smtpshim/rewrite"
)

var mailClient = netip.MustParseAddr("192.0.2.7")

// session is a dialogue past EHLO, with these rules.
func session(t testing.TB, rules *rewrite.Rules) *rewrite.Dialogue {
	t.Helper()
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
	for name, rules := range map[string]*rewrite.Rules{"the standard rules": standard(t), "all rules": everyRule(t)} {
		for _, c := range [][2]string{
			{"MAIL FROM:<a@example.com>", "250 2.1.0 Ok"}, {"RCPT TO:<b@example.org>", "250 2.1.5 Ok"}, {"NOOP", "250 2.0.0 Ok"}, {"RSET", "250 2.0.0 Ok"},
			{"VRFY b", "252 2.0.0 b"}, {"XYZZY", "250 2.0.0 Ok"}, // a refusal some rules want
		} {
			if name == "all rules" && (c[0][:4] == "MAIL" || c[0] == "NOOP") {
				continue // label-8bit says BODY=8BITMIME in it; reply-codes looks for the 220 of FireWall-1
			}
			d := session(t, rules)
			command, reply := []byte(c[0]+"\r\n"), []byte(c[1]+"\r\n")
			if n := testing.AllocsPerRun(100, func() { ask(d, command, reply) }); n != 0 {
				t.Errorf("with %s in force %s costs %v allocations", name, c[0], n)
			}
			if d.Next(false) != rewrite.AwaitCommand {
				t.Fatalf("with %s in force the dialogue waits for %d after %s", name, d.Next(false), c[0])
			}
		}
	}
}

func BenchmarkCommandWithoutRule(b *testing.B) {
	d := session(b, standard(b))
	command, reply := []byte("RCPT TO:<b@example.net>\r\n"), []byte("250 2.1.5 Ok\r\n")
	b.ReportAllocs()
	for b.Loop() {
		ask(d, command, reply)
	}
}

func BenchmarkEHLOReply(b *testing.B) {
	d := session(b, standard(b))
	command := []byte("EHLO client.example.net\r\n")
	b.ReportAllocs()
	for b.Loop() {
		ask(d, command, ehloReply)
	}
}

// BenchmarkSession is all that is decided in a session of one message, with the
// standard rules. BenchmarkSessionUnderAuto is the same with those of auto,
// BenchmarkSessionWithAllRules with every rule in force, and BenchmarkObservedSession
// with the standard rules observed.
func BenchmarkSession(b *testing.B) { benchmarkSession(b, rewrite.Policy{Rules: standard(b)}) }
func BenchmarkSessionUnderAuto(b *testing.B) {
	benchmarkSession(b, rewrite.Policy{Rules: compile(b, "auto")})
}
func BenchmarkSessionWithAllRules(b *testing.B) {
	benchmarkSession(b, rewrite.Policy{Rules: everyRule(b)})
}
func BenchmarkObservedSession(b *testing.B) {
	benchmarkSession(b, rewrite.Policy{Observed: standard(b)})
}

func benchmarkSession(b *testing.B, p rewrite.Policy) {
	policy := &p
	policy.Turns, policy.Limits = rewrite.NewTurns(4), rewrite.Limits{Errors: 20}
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
