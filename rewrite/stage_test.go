package rewrite_test

import (
	"testing"

	"smtpshim/rewrite"
)

// What belongs to the command is of no use once its reply is there.
func TestAReplyFunctionCannotChangeItsCommand(t *testing.T) {
	for name, f := range map[string]func(*rewrite.Turn){
		"the line":  func(t *rewrite.Turn) { t.SetLine("HELO other.example.net") },
		"an answer": func(t *rewrite.Turn) { t.Answer(rewrite.Reply{Code: 250, Lines: []string{"ok"}}) },
		"first":     func(t *rewrite.Turn) { t.First("RSET") },
		"as DATA":   func(t *rewrite.Turn) { t.AsData() },
		"swallowed": func(t *rewrite.Turn) { t.Swallow() },
	} {
		for _, line := range []string{"NOOP", "EHLO client.example.net", "AUTH PLAIN AA=="} {
			t.Run(name+" for "+line, func(t *testing.T) {
				k := newTalk(t, onReplies(f))
				k.client(line, line, "")
				k.server("250 ok", "", "250 ok")
				k.acted("", "bad")
				k.client("QUIT", "QUIT", "")
				k.server("221 bye", "", "221 bye")
			})
		}
	}
}

// A reply that is there cannot be waited for; the next one comes as ever.
func TestAReplyFunctionCannotHoldItsCommand(t *testing.T) {
	k := newTalk(t, onReplies(func(t *rewrite.Turn) { t.Hold() }))
	k.hello("PIPELINING")
	k.client("MAIL FROM:<a@example.com>", "MAIL FROM:<a@example.com>", "")
	k.client("RCPT TO:<b@example.net>", "RCPT TO:<b@example.net>", "")
	k.server("250 one", "", "250 one")
	k.server("250 two", "", "250 two")
	k.acted("", "bad bad")
}

func TestNothingIsSaidAgainBeforeThereIsAReply(t *testing.T) {
	again := func(t *rewrite.Turn) { t.Again("RSET\r\nMAIL FROM:<smuggled@example.com>") }
	for _, line := range []string{"NOOP", "EHLO client.example.net", "AUTH PLAIN AA=="} {
		k := newTalk(t, onCommands(again))
		k.client(line, line, "")
		k.server("250 ok", "", "250 ok")
		k.acted("", "bad")
	}
	k := newTalk(t, named("bad", rewrite.Actions{SASL: again}))
	k.client("AUTH LOGIN", "AUTH LOGIN", "")
	k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
	k.client("dXNlcg==", "dXNlcg==", "")
	k.server("235 ok", "", "235 ok")
	k.acted("", "bad")
}

func TestASASLFunctionCannotChangeItsCommand(t *testing.T) {
	for name, f := range map[string]func(*rewrite.Turn){
		"first":   func(t *rewrite.Turn) { t.First("RSET") },
		"as DATA": func(t *rewrite.Turn) { t.AsData() },
	} {
		t.Run(name, func(t *testing.T) {
			k := newTalk(t, named("bad", rewrite.Actions{SASL: f}))
			k.client("AUTH LOGIN", "AUTH LOGIN", "")
			k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
			k.client("dXNlcg==", "dXNlcg==", "")
			k.acted("", "bad")
		})
	}
}

func TestOnlyASASLLineIsSwallowed(t *testing.T) {
	for _, line := range []string{"NOOP", "AUTH LOGIN", "EHLO client.example.net"} {
		k := newTalk(t, onCommands(func(t *rewrite.Turn) { t.Swallow() }))
		k.client(line, line, "")
		k.acted("", "bad")
	}
}

// What the server has said, and the client was told, no rule changes afterwards.
func TestWhatWasOfferedDoesNotChange(t *testing.T) {
	spoil := func(e rewrite.Extensions) {
		e.Add("ADDED")
		e.Set("SIZE", "1")
		e.Extend("AUTH ", "PLAIN")
		e.Rename("DSN", "RENAMED")
		e.Place("AUTH", 0)
		e.Drop("PIPELINING")
	}
	k := newTalk(t, named("spoils", rewrite.Actions{
		Commands: rewrite.EveryVerb, Command: func(t *rewrite.Turn) { spoil(t.Server()); spoil(t.Shown()) },
		Replies: onEHLO, Reply: func(t *rewrite.Turn) { spoil(t.Server()) },
	}))
	const offer = "250-mail.example.com|250-SIZE 100|250-AUTH LOGIN|250-DSN|250 PIPELINING"
	for range 2 {
		k.client("EHLO client.example.net", "EHLO client.example.net", "")
		k.server(offer, "", offer)
	}
	k.acted("", "")
}

// A line that has to be given again has been mended once.
func TestALineIsCountedWhenItIsTaken(t *testing.T) {
	k := newTalk(t, named("ends", rewrite.Actions{Line: func(_ rewrite.Session, octets []byte) []byte { return octets[:len(octets)-1] }}))
	k.client("NOOP", "NOOP", "")
	if k.d.Command([]byte("EHLO client.example.net\n"), false) {
		t.Fatal("EHLO is taken before the reply to NOOP")
	}
	k.server("250 ok", "", "250 ok")
	k.acted("", "")
	if !k.d.Command([]byte("EHLO client.example.net\n"), false) {
		t.Fatal("EHLO is not taken")
	}
	k.expect("EHLO", "EHLO client.example.net", "")
	k.acted("ends", "")
}

func TestALineThatARuleMendsIsALineAndNoLonger(t *testing.T) {
	for _, made := range []string{"NOOP\r\nQUIT", "NOOP\n", "NO\rOP", "NOOP\x00", "NOOP NOOP"} {
		k := newTalk(t, named("bad", rewrite.Actions{Line: func(rewrite.Session, []byte) []byte { return []byte(made) }}))
		k.d.Command([]byte("NOOP\n"), false)
		k.expect(made, "", "500 5.5.2 a command ends with CRLF and has no bare CR, bare LF or NUL in it")
		k.acted("", "bad")
		if len(k.whys) != 1 || k.whys[0] == "" {
			t.Errorf("the reasons are %q", k.whys)
		}
	}
}

// The server has hung up.
func TestNothingIsSaidAgainToAServerThatIsLost(t *testing.T) {
	k := newTalk(t, named("bad", rewrite.Actions{Replies: onEHLO, Reply: func(t *rewrite.Turn) { t.Again("HELO x") }}))
	k.client("EHLO x", "EHLO x", "")
	k.lost("", "421 4.4.2 connection to server lost")
	k.acted("", "bad")
}

// The lines in the trace are as they were mended.
func TestTheTracerHearsWhoHasMendedALine(t *testing.T) {
	k := newTalk(t, named("ends", rewrite.Actions{Line: func(_ rewrite.Session, octets []byte) []byte { return octets[:len(octets)-1] }}))
	k.d.Command([]byte("AUTH LOGIN\n"), false)
	k.traces("~ line mended by ends")
	k.expect("AUTH", "AUTH LOGIN", "")
	k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
	k.ledger = ledger{}
	k.d.SASL([]byte("dXNlcg==\n"))
	k.traces("~ line mended by ends")
	k.acted("ends", "")
}
