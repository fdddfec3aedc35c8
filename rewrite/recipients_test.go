package rewrite_test

import (
	"strings"
	"testing"

	"smtpshim/rewrite"
)

// Whether a rule answers RCPT, or waits for its reply, changes nothing of the limit.
func TestRecipientsThatRulesLookAtCount(t *testing.T) {
	for name, f := range map[string]func(*rewrite.Turn){
		"passes": func(*rewrite.Turn) {},
		"held":   func(t *rewrite.Turn) { t.Hold() },
		"answered": func(t *rewrite.Turn) {
			if strings.Contains(string(t.Line()), "nobody") {
				t.Answer(rewrite.Reply{Code: 550, Lines: []string{"no"}})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := talkUnder(t, &rewrite.Policy{Rules: compileRules(t, onCommands(f)), Limits: rewrite.Limits{Recipients: 2}})
			k.hello()
			for _, line := range []string{"MAIL FROM:<a@example.com>", "RCPT TO:<nobody@example.net>", "RCPT TO:<nobody@example.net>", "RCPT TO:<b@example.net>", "RCPT TO:<c@example.net>"} {
				k.d.Command([]byte(line+"\r\n"), false)
				reply := "250 ok\r\n"
				if strings.Contains(line, "nobody") {
					reply = "550 no\r\n"
				}
				if len(k.d.ToServer) > 0 {
					k.d.Reply([]byte(reply), false, false)
				}
				if got := string(k.d.ToClient); got != reply {
					t.Errorf("to %s the client gets %q", line, got)
				}
				k.d.ToServer, k.d.ToClient = nil, nil
			}
			k.client("RCPT TO:<d@example.net>", "", "452 4.5.3 too many recipients")
		})
	}
}

// The reply to RSET comes when recipients of the next transaction are under way.
func TestRecipientsOfAGroupCountForTheirTransaction(t *testing.T) {
	k := talkUnder(t, &rewrite.Policy{Limits: rewrite.Limits{Recipients: 2}})
	k.hello("PIPELINING")
	group := []string{"MAIL FROM:<a@example.com>", "RCPT TO:<a@example.net>", "RSET", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>"}
	for _, line := range group {
		k.client(line, line, "")
	}
	if k.d.Command([]byte("RCPT TO:<c@example.net>\r\n"), false) {
		t.Error("a recipient is taken before it is known how many there are")
	}
	for range group {
		k.server("250 ok", "", "250 ok")
	}
	k.client("RCPT TO:<c@example.net>", "RCPT TO:<c@example.net>", "")
	k.server("250 ok", "", "250 ok")
	k.client("RCPT TO:<d@example.net>", "", "452 4.5.3 too many recipients")
}
