package rewrite_test

import (
	"testing"

	"smtpshim/rewrite"
)

func yes(t *rewrite.Turn) { t.Answer(rewrite.Reply{Code: 250, Lines: []string{"ok"}}) }

// A recipient that only the proxy has accepted would get no mail.
func TestNoRuleAcceptsASenderOrARecipient(t *testing.T) {
	for _, line := range []string{"MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>"} {
		k := newTalk(t, onCommands(yes))
		k.client(line, line, "")
		k.server("550 no", "", "550 no")
		k.acted("", "bad")
	}
}

// EHLO and RSET end a transaction, which the server would go on with.
func TestARuleAnswersForTheServerWhatLeavesItsStateAlone(t *testing.T) {
	k := newTalk(t, onCommands(yes))
	for _, line := range []string{"EHLO client.example.net", "HELO client.example.net"} { // the first
		k.client(line, line, "")
		k.server("500 what?", "", "500 what?")
	}
	k = newTalk(t, named("ehlo", rewrite.Actions{Commands: rewrite.SetOf(rewrite.VerbEHLO, rewrite.VerbRSET), Command: func(t *rewrite.Turn) {
		if t.Hello() != "" {
			yes(t)
		}
	}}))
	k.hello("SIZE")
	k.client("EHLO client.example.net", "", "250 ok")
	k.client("RSET", "", "250 ok")
	k.acted("ehlo ehlo", "")
	const mail = "MAIL FROM:<a@example.com>"
	k.client(mail, mail, "")
	k.server("250 ok", "", "250 ok")
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.server("250 mail.example.com", "", "250 mail.example.com")
	k.client(mail, mail, "")
	k.server("250 ok", "", "250 ok")
	k.client("RSET", "RSET", "")
}

// As policy.go has it, whoever makes the reply.
func TestAnEHLOReplyOfARuleIsTrueOfTheSession(t *testing.T) {
	k := talkUnder(t, &rewrite.Policy{ClientTLS: rewrite.ClientTLSHide, Limits: rewrite.Limits{MessageSize: 100}, Rules: compileRules(t, named("ehlo", rewrite.Actions{
		Commands: rewrite.SetOf(rewrite.VerbEHLO), Command: func(t *rewrite.Turn) {
			if t.Hello() != "" {
				t.Answer(rewrite.Reply{Code: 250, Lines: []string{"mail", "STARTTLS", "SIZE 5000", "XCLIENT ADDR", "DSN"}})
			}
		}}))})
	k.hello("DSN")
	k.client("EHLO client.example.net", "", "250-mail|250-SIZE 100|250 DSN")
}

// The yes to NOOP would be taken for one to RCPT.
func TestACommandKeepsItsKind(t *testing.T) {
	const mail, rcpt, auth = "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "AUTH PLAIN AA=="
	ehlo, helo := "EHLO client.example.net", "HELO client.example.net"
	for _, c := range []struct {
		said, made string
		ok         bool
	}{
		{mail, "NOOP", false}, {mail, rcpt, false}, {mail, "MAIL FROM:<>", true},
		{rcpt, "NOOP", false}, {rcpt, "RSET", false}, {rcpt, mail, false}, {rcpt, "RCPT TO:<c@example.net>", true},
		{"NOOP", mail, false}, {"NOOP", rcpt, false}, {"SEND FROM:<a@example.com>", mail, false},
		{"NOOP", ehlo, false}, {ehlo, "NOOP", false}, {helo, "NOOP", false}, {helo, ehlo, true}, {ehlo, helo, true},
		{"NOOP", auth, false}, {auth, "NOOP", false}, {"XAUTH NTLM", "AUTH NTLM", true}, {auth, "XAUTH", true},
		{"DATA", "NOOP", false}, {"STARTTLS", "NOOP", false}, {"QUIT", "NOOP", false}, {"RSET", "NOOP", true}, {"XYZZY", "NOOP", true},
	} {
		k := newTalk(t, onCommands(func(t *rewrite.Turn) { t.SetLine(c.made) }))
		if c.ok {
			k.client(c.said, c.made, "")
			if len(k.broke) > 0 {
				t.Errorf("%q of %q: %q", c.made, c.said, k.whys)
			}
		} else {
			k.client(c.said, c.said, "")
			k.acted("", "bad")
		}
	}
}

func TestACommandThatIsSaidAgainKeepsItsKind(t *testing.T) {
	for said, made := range map[string]string{"MAIL FROM:<a@example.com>": "NOOP", "EHLO client.example.net": "NOOP", "AUTH NTLM": "RSET"} {
		k := newTalk(t, named("bad", rewrite.Actions{
			Commands: rewrite.EveryVerb, Command: func(t *rewrite.Turn) { t.Hold() },
			Replies: rewrite.EveryVerb, Reply: func(t *rewrite.Turn) { t.Again(made) },
		}))
		k.ledger = ledger{}
		k.client(said, said, "")
		k.server("550 no", "", "550 no")
		k.acted("", "bad")
	}
}

// The server would have the recipient, and the client send it the mail again.
func TestAYesThatTheServerActsOnStaysAYes(t *testing.T) {
	for _, line := range []string{"MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>"} {
		for _, to := range []int{421, 451, 550} {
			k := newTalk(t, onReplies(func(t *rewrite.Turn) { t.Reply().Code = to }))
			k.client(line, line, "")
			k.server("250 ok", "", "250 ok")
			k.acted("", "bad")
		}
	}
}

func TestARepairKeepsAYesThatTheServerActsOn(t *testing.T) {
	k := newTalk(t, named("bad", rewrite.Actions{Repair: func(r *rewrite.Repair) { r.Replace(len(r.Octets()), []byte("451 no\r\n")) }}))
	k.hello("PIPELINING")
	const mail = "MAIL FROM:<a@example.com>"
	k.client(mail, mail, "")
	if _, _, ok, _ := k.d.Repair([]byte("250 ok\n"), 0); ok {
		t.Error("a yes to MAIL becomes a refusal")
	}
	k.server("250 ok", "", "250 ok")
	k.transaction()
	k.d.MessageEnd(5)
	if _, _, ok, _ := k.d.Repair([]byte("250 ok\n"), 0); ok {
		t.Error("a yes to a message becomes a refusal")
	}
	if _, _, ok, _ := k.d.Repair([]byte("ok\n"), 0); !ok {
		t.Error("what has no code becomes no refusal")
	}
}

// What the client may not say yet no rule says for it.
func TestARuleSaysNothingThatTheSessionDoesNotAllowYet(t *testing.T) {
	const mail = "MAIL FROM:<a@example.com>"
	for name, p := range map[string]rewrite.Policy{
		"TLS with the server": {ServerTLS: rewrite.ServerTLSRequire}, "TLS with the client": {ClientTLS: rewrite.ClientTLSRequire},
		"XCLIENT": {XCLIENT: rewrite.XCLIENTOffered},
	} {
		for made, f := range map[string]func(*rewrite.Turn){
			mail:     func(t *rewrite.Turn) { t.First(mail) },
			"VRFY a": func(t *rewrite.Turn) { t.SetLine("VRFY a") },
		} {
			t.Run(name+", "+made, func(t *testing.T) {
				p.Rules = compileRules(t, onCommands(f))
				k := talkUnder(t, &p)
				k.client("NOOP", "NOOP", "")
				k.acted("", "bad")
			})
		}
	}
}

// The rule has not said the EHLO that is owed.
func TestWhatIsSaidFirstIsNoEHLOThatIsOwed(t *testing.T) {
	k := talkUnder(t, &rewrite.Policy{ClientTLS: rewrite.ClientTLSOffer, Rules: compileRules(t, onCommands(func(t *rewrite.Turn) {
		if t.Verb() == rewrite.VerbMAIL {
			t.First("NOOP")
		}
	}))})
	k.hello()
	k.client("STARTTLS", "", "220 2.0.0 ready to start TLS")
	k.d.ClientTLS()
	k.client("MAIL FROM:<a@example.com>", "", "503 5.5.1 EHLO first")
}
