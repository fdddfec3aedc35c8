package rewrite_test

import (
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
)

// respeller holds MAIL, RCPT and DATA, and says what is refused again as again
// wants it.
func respeller(again func(*rewrite.Turn)) rewrite.Rule {
	verbs := rewrite.SetOf(rewrite.VerbMAIL, rewrite.VerbRCPT, rewrite.VerbDATA)
	return named("respell", rewrite.Actions{
		Commands: verbs, Command: (*rewrite.Turn).Hold,
		Refusals: verbs, Reply: again,
	})
}

func trimmed(t *rewrite.Turn) {
	if line := strings.TrimRight(string(t.Line()), " "); line != string(t.Line()) {
		t.Again(line)
	}
}

func TestAFormThatWasRefusedMayBeSaidInAnother(t *testing.T) {
	k := newTalk(t, respeller(trimmed))
	k.client("MAIL FROM:<a@example.com> ", "MAIL FROM:<a@example.com> ", "")
	k.server("501 no", "MAIL FROM:<a@example.com>", "")
	k.server("250 ok", "", "250 ok")
	k.client("RCPT TO:<b@example.net> ", "RCPT TO:<b@example.net> ", "")
	k.server("553 no", "RCPT TO:<b@example.net>", "")
	k.server("250 ok", "", "250 ok")
	k.client("DATA ", "DATA ", "")
	k.server("500 no", "DATA", "")
	k.server("354 go on", "", "354 go on")
	if len(k.broke) > 0 {
		t.Errorf("broke: %q", k.whys)
	}
	if next := k.d.Next(false); next != rewrite.AwaitMessage {
		t.Errorf("after 354 the dialogue waits for %d", next)
	}
}

// A refusal of the recipient or of the time is none of the form, and the same line
// or a fresh connection would be no other form.
func TestOnlyARefusedFormIsSaidAgain(t *testing.T) {
	for _, c := range []struct {
		reply string
		again func(*rewrite.Turn)
	}{
		{"550 no such user", trimmed},
		{"451 later", trimmed},
		{"503 no", trimmed},
		{"501 no", func(t *rewrite.Turn) { t.Again(string(t.Line())) }},
		{"501 no", func(t *rewrite.Turn) { t.AgainAfresh("RCPT TO:<b@example.net>") }},
		{"501 no", func(t *rewrite.Turn) { t.Again("NOOP") }},
	} {
		k := newTalk(t, respeller(c.again))
		k.client("MAIL FROM:<a@example.com>", "MAIL FROM:<a@example.com>", "")
		k.server("250 ok", "", "250 ok")
		k.client("RCPT TO:<b@example.net> ", "RCPT TO:<b@example.net> ", "")
		k.server(c.reply, "", c.reply)
		if !slices.Equal(k.broke, []string{"respell"}) {
			t.Errorf("%s: broke %q", c.reply, k.broke)
		}
	}
}

// What was sent behind a DATA that is refused would run as commands.
func TestAHeldDATAThatIsRefusedEndsASessionThatWasAhead(t *testing.T) {
	k := newTalk(t, respeller(trimmed))
	k.client("DATA ", "DATA ", "")
	k.d.ToServer = nil
	k.d.Reply([]byte("501 no\r\n"), true, false)
	k.d.ToServer = nil
	k.d.Reply([]byte("501 no\r\n"), true, false)
	if got := string(k.d.ToClient); !strings.HasSuffix(got, "554 5.5.0 the message was sent before DATA was accepted\r\n") || k.d.Next(false) != rewrite.End {
		t.Errorf("the client got %q", got)
	}
}

// Held recipients count towards the limit as others do, and refused ones do not.
func TestHeldRecipientsCount(t *testing.T) {
	k := talkUnder(t, &rewrite.Policy{Rules: compileRules(t, respeller(trimmed)), Limits: rewrite.Limits{Recipients: 2}})
	k.client("MAIL FROM:<a@example.com>", "MAIL FROM:<a@example.com>", "")
	k.server("250 ok", "", "250 ok")
	for _, reply := range []string{"250 ok", "550 no", "250 ok"} {
		k.client("RCPT TO:<b@example.net>", "RCPT TO:<b@example.net>", "")
		k.server(reply, "", reply)
	}
	k.client("RCPT TO:<b@example.net>", "", "452 4.5.3 too many recipients")
}
