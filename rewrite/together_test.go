package rewrite_test

import (
	"testing"

	"smtpshim/rewrite"
)

var (
	onEHLO = rewrite.SetOf(rewrite.VerbEHLO)
	onNOOP = rewrite.SetOf(rewrite.VerbNOOP)
	onMAIL = rewrite.SetOf(rewrite.VerbMAIL)
	onAUTH = rewrite.SetOf(rewrite.VerbAUTH)
)

func TestTwoRulesThatRenameAKeywordBothDo(t *testing.T) {
	rename := func(name, old, new string) rewrite.Rule {
		return named(name, rewrite.Actions{Offer: func(_ rewrite.Session, e rewrite.Extensions) { e.Rename(old, new) }})
	}
	k := newTalk(t, rename("second", "B", "C"), rename("first", "A", "B"), rename("other", "TLS", "STARTTLS"))
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.server("250-mail.example.com|250-TLS|250 A", "", "250-mail.example.com|250-STARTTLS|250 C")
	k.acted("first other second", "")
	k.traces("S 250-mail.example.com|250-TLS|250 A -> 250-mail.example.com|250-STARTTLS|250 C (second,first,other)")
}

func TestTwoRulesThatShowAKeywordUnderAnotherNameBothDo(t *testing.T) {
	alias := func(name, keyword string) rewrite.Rule {
		return named(name, rewrite.Actions{Replies: onEHLO, Reply: func(t *rewrite.Turn) { t.Extensions().Add(keyword) }})
	}
	k := newTalk(t, alias("second", "XAUTH NTLM"), alias("first", "AUTH=NTLM"))
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.server("250-mail.example.com|250 AUTH NTLM", "", "250-mail.example.com|250-AUTH NTLM|250-AUTH=NTLM|250 XAUTH NTLM")
	k.acted("first second", "")
}

func saysFirst(name, line string) rewrite.Rule {
	return named(name, rewrite.Actions{Commands: onNOOP, Command: func(t *rewrite.Turn) { t.First(line) }})
}

func TestWhatRulesHaveSaidFirstIsSaidInTheirOrder(t *testing.T) {
	k := newTalk(t, saysFirst("one", "HELP one"), appends("word", "x", false, rewrite.VerbNOOP), saysFirst("two", "HELP two"))
	k.client("NOOP", "HELP one", "")
	k.server("500 no", "HELP two", "")
	k.server("214 two", "NOOP x", "")
	k.server("250 ok", "", "250 ok")
	k.acted("one two word", "")
	k.traces("C  -> HELP one (one)", "S 500 no ->  (one)", "C  -> HELP two (two)", "S 214 two ->  (two)", "C NOOP -> NOOP x (word)", "S 250 ok -> 250 ok ()")
}

func answers(name string, code int, verbs rewrite.VerbSet) rewrite.Rule {
	return named(name, rewrite.Actions{Commands: verbs, Command: func(t *rewrite.Turn) {
		t.Answer(rewrite.Reply{Code: code, Lines: []string{string(t.Line())}})
	}})
}

func TestARuleMayAnswerWhatAnotherHasChanged(t *testing.T) {
	k := newTalk(t, appends("word", "x", false, rewrite.VerbNOOP), answers("answer", 250, onNOOP), appends("never", "y", false, rewrite.VerbNOOP))
	k.client("NOOP", "", "250 NOOP x")
	k.acted("answer word", "")
	k.traces("C NOOP ->  (answer)", "S  -> 250 NOOP x (answer)")
	k.client("RSET", "RSET", "")
}

func TestARuleMayAnswerBehindWhatAnotherHasSaidFirst(t *testing.T) {
	k := newTalk(t, saysFirst("first", "RSET"), answers("answer", 250, onNOOP))
	k.client("NOOP", "RSET", "")
	k.server("250 reset", "", "250 NOOP")
	k.acted("answer first", "")
	k.client("QUIT", "QUIT", "")
}

func TestTheServerMayBeLostOnWhatIsSaidFirst(t *testing.T) {
	k := newTalk(t, saysFirst("first", "RSET"), answers("answer", 250, onNOOP))
	k.client("NOOP", "RSET", "")
	k.lost("", "421 4.4.2 connection to server lost")
	k.acted("", "")
	if k.d.Next(false) != rewrite.End {
		t.Errorf("the dialogue waits for %d", k.d.Next(false))
	}
}

func TestRulesThatChangeOneReplyAllDo(t *testing.T) {
	for _, line := range []string{"NOOP", "EHLO client.example.net", "MAIL FROM:<a@example.com>"} {
		verb := rewrite.ParseVerb([]byte(line))
		k := newTalk(t, appends("last", "z", true, verb), appends("second", "y", true, verb), appends("first", "x", true, verb))
		k.client(line, line, "")
		k.server("250-a|250 b", "", "250-a|250 b x y z")
		k.acted("first last second", "")
		k.traces("S 250-a|250 b -> 250-a|250 b x y z (last,second,first)")
	}
}

// The rule that has it said again sees the reply as the others have left it.
func TestACommandIsSaidAgainForWhatAnotherRuleMadeOfTheReply(t *testing.T) {
	k := newTalk(t,
		named("again", rewrite.Actions{Replies: onEHLO, Reply: func(t *rewrite.Turn) {
			if t.Reply().Code == 502 {
				t.Again("HELO client.example.net")
			}
		}}),
		named("change", rewrite.Actions{Refusals: onEHLO, Reply: func(t *rewrite.Turn) { t.Reply().Code = 502 }}))
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.server("505 what?", "HELO client.example.net", "")
	k.server("250 mail.example.com", "", "250 mail.example.com")
	k.acted("again change", "")
	k.traces("C EHLO client.example.net -> EHLO client.example.net ()", "C  -> HELO client.example.net (again)", "S 250 mail.example.com -> 250 mail.example.com ()")
}

func TestARuleThatChangesEachReplyOfATurnIsCountedOnce(t *testing.T) {
	again := 0
	k := newTalk(t,
		named("again", rewrite.Actions{Replies: onMAIL, Commands: onMAIL, Command: func(t *rewrite.Turn) { t.Hold() },
			Reply: func(t *rewrite.Turn) {
				if again++; again <= 3 {
					t.Again(string(t.Line()))
				}
			}}),
		appends("change", "x", true, rewrite.VerbMAIL))
	k.client("MAIL FROM:<a@example.com>", "MAIL FROM:<a@example.com>", "")
	for range 3 {
		k.server("451 later", "MAIL FROM:<a@example.com>", "")
	}
	k.server("250 ok", "", "250 ok x")
	k.acted("again change", "")
}

func TestEachLineOfAnExchangeIsTracedWithItsRule(t *testing.T) {
	k := newTalk(t,
		named("ask", rewrite.Actions{Commands: onAUTH, Command: func(t *rewrite.Turn) {
			t.Answer(rewrite.Reply{Code: 334, Lines: []string{"VXNlcm5hbWU6"}})
		}}),
		named("swallow", rewrite.Actions{SASL: func(t *rewrite.Turn) {
			if t.Step() == 1 {
				t.Swallow()
			}
		}}),
		named("answer", rewrite.Actions{SASL: func(t *rewrite.Turn) {
			if t.Step() == 2 {
				t.Answer(rewrite.Reply{Code: 334, Lines: []string{"UGFzc3dvcmQ6"}})
			}
		}}),
		named("login", rewrite.Actions{SASL: func(t *rewrite.Turn) {
			if t.Step() == 3 {
				t.SetLine("AUTH PLAIN AHVzZXIAc2VjcmV0")
			}
		}}))
	k.client("AUTH LOGIN", "", "334 VXNlcm5hbWU6")
	k.client("one", "", "")
	k.client("four", "", "334 UGFzc3dvcmQ6")
	k.client("eleven-----", "AUTH PLAIN AHVzZXIAc2VjcmV0", "")
	k.server("235 ok", "", "235 ok")
	k.acted("answer ask login swallow", "")
	want := []string{"C AUTH LOGIN ->  (ask)", "S  -> 334 VXNlcm5hbWU6 (ask)", "C ...(3 octets) ->  (swallow)",
		"C ...(4 octets) ->  (answer)", "S  -> 334 UGFzc3dvcmQ6 (answer)", "C ...(11 octets) ->  (login)",
		"C  -> AUTH PLAIN ...(16 octets) (login)", "S 235 ok -> 235 ok ()"}
	k.traces(want...)
	if len(k.traced) != len(want) {
		t.Errorf("the trace has %d lines, not %d:\n%q", len(k.traced), len(want), k.traced)
	}
}
