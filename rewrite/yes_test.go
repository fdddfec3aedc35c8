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
