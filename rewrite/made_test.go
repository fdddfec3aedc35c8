package rewrite_test

import (
	"fmt"
	"strings"
	"testing"

	"smtpshim/rewrite"
)

// onCommands is a rule named "bad" that does this to every command.
func onCommands(f func(*rewrite.Turn)) rewrite.Rule {
	return named("bad", rewrite.Actions{Commands: rewrite.EveryVerb, Command: f})
}

// onReplies is a rule named "bad" that does this to every reply but the greeting.
func onReplies(f func(*rewrite.Turn)) rewrite.Rule {
	return named("bad", rewrite.Actions{Replies: rewrite.EveryVerb &^ rewrite.SetOf(rewrite.VerbGreeting), Reply: f})
}

var notLines = map[string]string{
	"two lines": "NOOP\r\nQUIT", "a bare LF": "NOOP\nQUIT", "a bare CR": "NOOP\rQUIT", "a NUL": "NOOP\x00", "nothing": "",
}

func TestALineThatARuleMakesIsALine(t *testing.T) {
	for name, line := range notLines {
		for _, said := range []string{"NOOP", "EHLO client.example.net", "AUTH PLAIN AA==", "RCPT TO:<b@example.net>"} {
			t.Run(name+" for "+said, func(t *testing.T) {
				k := newTalk(t, onCommands(func(t *rewrite.Turn) { t.SetLine(line) }))
				k.client(said, said, "")
				k.acted("", "bad")
			})
		}
		if line == "" {
			continue
		}
		t.Run(name+" said first", func(t *testing.T) {
			k := newTalk(t, onCommands(func(t *rewrite.Turn) { t.First(line) }))
			k.client("NOOP", "NOOP", "")
			k.acted("", "bad")
		})
		t.Run(name+" said again", func(t *testing.T) {
			k := newTalk(t, onReplies(func(t *rewrite.Turn) { t.Again(line) }))
			k.client("EHLO client.example.net", "EHLO client.example.net", "")
			k.server("500 no", "", "500 no")
			k.acted("", "bad")
		})
		t.Run(name+" to a challenge", func(t *testing.T) {
			k := newTalk(t, onReplies(func(t *rewrite.Turn) { t.Again(line) }))
			k.client("AUTH LOGIN", "AUTH LOGIN", "")
			k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
			k.acted("", "bad")
		})
		t.Run(name+" in SASL", func(t *testing.T) {
			k := newTalk(t, named("bad", rewrite.Actions{SASL: func(t *rewrite.Turn) { t.SetLine(line) }}))
			k.client("AUTH LOGIN", "AUTH LOGIN", "")
			k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
			k.client("dXNlcg==", "dXNlcg==", "")
			k.acted("", "bad")
		})
	}
}

// pad fills a line up to a length.
func pad(line string, n int) string { return line + strings.Repeat("x", n-len(line)) }

func TestALineThatARuleMakesIsNoLongerThanTheLimit(t *testing.T) {
	for _, c := range []struct {
		said, made string
		longest    int
	}{{"NOOP", "NOOP ", 4094}, {"MAIL FROM:<a@example.com>", "MAIL FROM:<", 4094}, {"AUTH PLAIN AA==", "AUTH PLAIN ", 12286}} {
		for _, n := range []int{c.longest, c.longest + 1} {
			k := newTalk(t, onCommands(func(t *rewrite.Turn) { t.SetLine(pad(c.made, n)) }))
			if n == c.longest {
				k.client(c.said, pad(c.made, n), "")
				k.acted(map[bool]string{true: "bad"}[!strings.HasPrefix(c.said, "AUTH")], "")
				continue
			}
			k.client(c.said, c.said, "")
			k.acted("", "bad")
		}
	}
}

// The limits of the route let such a line in.
func TestALongLineOfTheClientsMayBeChangedAndNotGrow(t *testing.T) {
	long := pad("NOOP ", 6000)
	k := newTalk(t, onCommands(func(t *rewrite.Turn) { t.SetLine("VRFY" + string(t.Line()[4:])) }))
	k.client(long, "VRFY"+long[4:], "")
	k.acted("bad", "")
	k = newTalk(t, onCommands(func(t *rewrite.Turn) { t.SetLine(string(t.Line()) + "x") }))
	k.client(long, long, "")
	k.acted("", "bad")
}

func TestASASLLineThatARuleMakesIsNoLongerThanTheLimit(t *testing.T) {
	for n, want := range map[int]string{12286: pad("", 12286), 12287: "dXNlcg=="} {
		k := newTalk(t, named("bad", rewrite.Actions{SASL: func(t *rewrite.Turn) { t.SetLine(pad("", n)) }}))
		k.client("AUTH LOGIN", "AUTH LOGIN", "")
		k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
		k.client("dXNlcg==", want, "")
	}
}

var uncarried = []string{"TURN", "ATRN", "XCLIENT ADDR=192.0.2.1", "XFORWARD NAME=x", "PROXY TCP4", "XEXCH50 1 2", "X-LINK2STATE FIRST"}

func TestNoRuleMakesOrSaysWhatIsNotCarried(t *testing.T) {
	for _, line := range append([]string{"DATA", "BDAT 5 LAST", "STARTTLS", "X-ANONYMOUSTLS", "QUIT", " data", "\tBdat 1"}, uncarried...) {
		t.Run(line, func(t *testing.T) {
			for _, said := range []string{"NOOP", "EHLO client.example.net", "RCPT TO:<b@example.net>"} {
				k := newTalk(t, onCommands(func(t *rewrite.Turn) { t.SetLine(line) }))
				k.client(said, said, "")
				k.acted("", "bad")
			}
			k := newTalk(t, onCommands(func(t *rewrite.Turn) { t.First(line) }))
			k.client("NOOP", "NOOP", "")
			k.acted("", "bad")
			k = newTalk(t, onReplies(func(t *rewrite.Turn) { t.Again(line) }))
			k.client("EHLO client.example.net", "EHLO client.example.net", "")
			k.server("500 no", "", "500 no")
			k.acted("", "bad")
		})
	}
}

func TestABDATCannotBeChanged(t *testing.T) {
	for name, f := range map[string]func(*rewrite.Turn){
		"another size":       func(t *rewrite.Turn) { t.SetLine("BDAT 4") },
		"another verb":       func(t *rewrite.Turn) { t.SetLine("NOOP") },
		"said behind RSET":   func(t *rewrite.Turn) { t.First("RSET") },
		"answered with 250":  func(t *rewrite.Turn) { t.Answer(rewrite.Reply{Code: 250, Lines: []string{"ok"}}) },
		"answered with 354":  func(t *rewrite.Turn) { t.Answer(rewrite.Reply{Code: 354, Lines: []string{"go on"}}) },
		"swallowed":          func(t *rewrite.Turn) { t.Swallow() },
		"another's two":      func(t *rewrite.Turn) { t.SetLine("BDAT 5\r\nBDAT 5") },
		"DATA, and answered": func(t *rewrite.Turn) { t.AsData(); t.Answer(rewrite.Reply{Code: 250, Lines: []string{"ok"}}) },
	} {
		t.Run(name, func(t *testing.T) {
			k := newTalk(t, named("bad", rewrite.Actions{Commands: rewrite.SetOf(rewrite.VerbBDAT), Command: f}))
			k.hello("CHUNKING")
			k.client("BDAT 5 LAST", "BDAT 5 LAST", "")
			if k.d.Next(false) != rewrite.AwaitChunk || k.d.ChunkSize() != 5 {
				t.Errorf("the dialogue waits for %d, %d octets", k.d.Next(false), k.d.ChunkSize())
			}
			k.acted("", "bad")
		})
	}
}

// What the client hears without the server must not be a yes where the server
// has to agree: to a message, and to TLS.
func TestNoRuleAnswersForTheServerWhatOnlyTheServerCan(t *testing.T) {
	for _, code := range []int{200, 220, 250, 334, 354} {
		for _, line := range []string{"DATA", "STARTTLS", "X-ANONYMOUSTLS"} {
			k := newTalk(t, onCommands(func(t *rewrite.Turn) { t.Answer(rewrite.Reply{Code: code, Lines: []string{"ok"}}) }))
			k.client(line, line, "")
			k.acted("", "bad")
		}
	}
}

func TestARuleMayRefuseForTheServer(t *testing.T) {
	for _, line := range []string{"DATA", "STARTTLS", "X-ANONYMOUSTLS", "NOOP", "AUTH LOGIN", "EHLO x"} {
		k := newTalk(t, onCommands(func(t *rewrite.Turn) { t.Answer(rewrite.Reply{Code: 454, Lines: []string{"no"}}) }))
		k.client(line, "", "454 no")
		k.acted("bad", "")
		if k.d.Next(false) != rewrite.AwaitCommand {
			t.Errorf("behind %s the dialogue waits for %d", line, k.d.Next(false))
		}
	}
}

func TestAYesToAFinishedMessageStaysAYes(t *testing.T) {
	for _, to := range []int{354, 421, 451, 554} {
		k := newTalk(t, onReplies(func(t *rewrite.Turn) {
			if t.Verb() == rewrite.VerbMessage {
				t.Reply().Code = to
			}
		}))
		k.transaction()
		k.d.MessageEnd(5)
		k.server("250 taken", "", "250 taken")
		k.acted("", "bad")
		k.hello("CHUNKING")
		k.client("BDAT 5 LAST", "BDAT 5 LAST", "")
		k.d.ChunkEnd()
		k.server("250 taken", "", "250 taken")
		k.acted("", "bad")
	}
}

// The server waits for a message, a SASL line or a handshake, and the client has
// to know.
func TestAnInvitationStaysTheSame(t *testing.T) {
	for _, c := range []struct{ line, reply string }{
		{"DATA", "354 go on"}, {"AUTH LOGIN", "334 VXNlcm5hbWU6"}, {"STARTTLS", "220 go on"}, {"X-ANONYMOUSTLS", "220 go on"},
	} {
		for _, to := range []int{200, 220, 235, 250, 300, 334, 354, 399, 421, 454, 554} {
			if strings.HasPrefix(c.reply, fmt.Sprint(to)) {
				continue
			}
			k := newTalk(t, onReplies(func(t *rewrite.Turn) { t.Reply().Code = to }))
			k.client(c.line, c.line, "")
			k.server(c.reply, "", c.reply)
			k.acted("", "bad")
		}
	}
}

func TestNoReplyBecomesAnInvitation(t *testing.T) {
	for _, c := range []struct {
		line, reply string
		to          int
	}{{"DATA", "451 later", 354}, {"AUTH LOGIN", "535 no", 334}, {"STARTTLS", "250 what?", 220}, {"STARTTLS", "454 no", 220}, {"NOOP", "250 ok", 354}, {"NOOP", "250 ok", 334}} {
		k := newTalk(t, onReplies(func(t *rewrite.Turn) { t.Reply().Code = c.to }))
		k.client(c.line, c.line, "")
		k.server(c.reply, "", c.reply)
		k.acted("", "bad")
	}
}
