package rewrite

import "strings"

func repeatEHLO() Rule {
	return Rule{
		Name:  "repeat-ehlo",
		Heals: "clients that go on with MAIL after STARTTLS without saying EHLO again, as Exchange 5.5 may",
		Doc: "After TLS has begun, what was said before it is void, and servers refuse MAIL with `503 Send hello first`. " +
			"A client that says anything else first has its last EHLO said for it; the answer is swallowed. " +
			"Without this rule such a client gets 503.",
		Source: "KB Q279214; RFC 3207, 4.2",
		setup: func(options) (actions, *ConfigError) {
			return actions{commandVerbs: everyVerb &^ beforeHello, command: func(t *Turn) {
				if t.HelloOwed() && t.Hello() != "" {
					t.First(t.Hello())
				}
			}}, nil
		},
	}
}

func retrySTARTTLS() Rule {
	return Rule{
		Name:  "retry-starttls",
		Heals: "IIS 4 and 5 with 128-bit TLS required: 505 Must issue a STARTTLS command first, although TLS is up",
		Doc: "IIS refuses the first MAIL of the first TLS session of a client, and Exchange 5.5 bounces the message; the " +
			"second try goes through. A 505 or 530 that asks for STARTTLS where TLS is in use is not passed on: a fresh " +
			"connection is made, with EHLO, STARTTLS (resuming the TLS session), EHLO, and MAIL is said again, twice at most. " +
			"After that, or where AUTH or an earlier message may not be repeated, the client gets 451 and keeps the mail.",
		Source: "KB Q279214; KB329061",
		setup: func(options) (actions, *ConfigError) {
			return actions{
				commandVerbs: setOf(VerbMAIL), command: func(t *Turn) {
					if t.ServerTLS() && t.Untouched() {
						t.Hold()
					}
				},
				refusalVerbs: setOf(VerbMAIL), reply: retryMAIL,
			}, nil
		},
	}
}

func retryMAIL(t *Turn) {
	r := t.Reply()
	if t.Lost() || !t.ServerTLS() || r.Code != 505 && r.Code != 530 || !asksForSTARTTLS(r) {
		return
	}
	if t.mayRepeat() && t.Fresh() < maxFresh {
		t.AgainAfresh(t.Line())
		return
	}
	*r = Reply{451, []string{"4.7.0 the server asks for STARTTLS although TLS is in use; try again later"}}
}

func asksForSTARTTLS(r *Reply) bool {
	text := strings.ToUpper(strings.Join(r.Lines, " "))
	return strings.Contains(text, "STARTTLS") || strings.Contains(text, "START TLS")
}
