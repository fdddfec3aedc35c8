package heal

import (
	"strings"

	"smtpshim/rewrite"
)

func resetBeforeMail() rewrite.Rule {
	return rewrite.Rule{
		Name:  "reset-before-mail",
		Heals: "servers that take the next MAIL of a session for a part of the last transaction, and answer 503",
		Doc: "The reply to a message ends its transaction. A server that does not know this refuses the next MAIL of the session, and the " +
			"sender bounces the mail. If the server replies that there is already a sender, although no transaction is open, the client " +
			"gets 451 and keeps the mail. For a day the rule then sends RSET before each MAIL of a session but the first. If the server " +
			"refuses that too, the client gets 421 and comes again on a fresh connection.",
		Symptoms: []string{"503 Sender already specified", "503 5.5.2 Sender already specified", "503 5.5.1 Error: nested MAIL command", "503 Issue a reset if you want to start over"},
		Source:   "KB Q202765; RFC 5321, 4.1.1.4; github.com/eventmachine/eventmachine/pull/351; github.com/knadh/listmonk/issues/966",
		Entries:  []string{"L49"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			mail := rewrite.SetOf(rewrite.VerbMAIL)
			return rewrite.Actions{
				State:   func() any { return new(resetState) },
				Command: sayRSET, Commands: mail,
				Reply: deferMAIL, Refusals: mail,
			}, nil
		},
	}
}

// A resetState is what a session knows about how its server handles MAIL.
type resetState struct {
	needed bool // the server has refused a MAIL although no transaction was open
	said   bool // RSET was sent before the last MAIL
}

// needsRSET is the key under which such a server is remembered.
const needsRSET = "needs RSET before MAIL"

func sayRSET(t *rewrite.Turn) {
	if t.Untouched() || t.Transaction() {
		return
	}
	state := t.State().(*resetState)
	if state.said = state.needed || t.Remembers(needsRSET); state.said {
		t.First("RSET")
	}
}

func deferMAIL(t *rewrite.Turn) {
	r := t.Reply()
	if t.Lost() || r.Code != 503 || t.Transaction() || t.Untouched() || !saysNested(r) {
		return
	}
	state := t.State().(*resetState)
	if state.said {
		*r = rewrite.Reply{Code: 421, Lines: []string{"4.3.0 the server takes one mail in a session; connect again"}}
		return
	}
	state.needed = true
	t.Remember(needsRSET, dayLong)
	*r = rewrite.Reply{Code: 451, Lines: []string{"4.3.0 the server takes this for a second sender of the last mail; try again"}}
}

// saysNested reports whether a refusal says that there is a sender already.
func saysNested(r *rewrite.Reply) bool {
	text := strings.ToLower(strings.Join(r.Lines, " "))
	return strings.Contains(text, "already") || strings.Contains(text, "nested") || strings.Contains(text, "reset")
}
