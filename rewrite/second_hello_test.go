package rewrite_test

import (
	"testing"

	"smtpshim/rewrite"
)

func TestAServerThatTakesOneHelloIsAskedOnce(t *testing.T) {
	m, policy := memory{}, &rewrite.Policy{ClientTLS: rewrite.ClientTLSOffer}
	const shown = "250-mail.example.com|250 DSN"
	begin := func() *talk {
		k := after(t, m, policy)
		k.client("EHLO client.example.net", "EHLO client.example.net", "")
		k.server(shown, "", "250-mail.example.com|250-STARTTLS|250 DSN")
		k.client("STARTTLS", "", "220 2.0.0 ready to start TLS")
		k.d.ClientTLS()
		return k
	}
	k := begin()
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.server("503 Bad Sequence", "RSET", "")
	k.server("250 OK", "", shown)
	for _, seconds := range m {
		if seconds != 86400 {
			t.Errorf("remembered for %d seconds, not for a day", seconds)
		}
	}
	k = begin()
	k.client("EHLO other.example.net", "", shown)
	k.traces("S  -> 250-mail.example.com|250 DSN (client_tls)")
	if got := k.d.Hello(); got != "EHLO other.example.net" {
		t.Errorf("the hello is %q", got)
	}
	k.client("MAIL FROM:<a@example.net>", "MAIL FROM:<a@example.net>", "")
	k.server("250 ok", "", "250 ok")
	k.client("EHLO other.example.net", "RSET", "")
	if k.server("250 ok", "", shown); k.d.Mailing() {
		t.Error("the transaction is still open")
	}
	k = begin()
	k.client("HELO client.example.net", "", "250 mail.example.com")
}

func TestAServerThatAnswersRSETWithNonsenseIsNotFollowed(t *testing.T) {
	k := talkUnder(t, &rewrite.Policy{ClientTLS: rewrite.ClientTLSOffer})
	k.hello("DSN")
	k.client("STARTTLS", "", "220 2.0.0 ready to start TLS")
	k.d.ClientTLS()
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.server("503 no", "RSET", "")
	k.server("354 go ahead", "", "421 4.3.0 server broke the protocol")
}

func TestOnlyTheAnswerToAHelloCanBeRecalled(t *testing.T) {
	k := newTalk(t, onCommands(func(t *rewrite.Turn) { t.Recall() }))
	k.client("NOOP", "NOOP", "")
	k.acted("", "bad")
}

func TestTheRuleThatHasAnAnswerRecalledIsCounted(t *testing.T) {
	k := newTalk(t, named("recalls", rewrite.Actions{Commands: rewrite.SetOf(rewrite.VerbEHLO), Command: func(t *rewrite.Turn) { t.Recall() }}))
	k.hello("DSN")
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.server("503 no", "RSET", "")
	k.server("250 OK", "", "250-mail.example.com|250 DSN")
	k.acted("recalls", "")
	k.traces("S  -> 250-mail.example.com|250 DSN (recalls)", "C  -> RSET (recalls)")
}
