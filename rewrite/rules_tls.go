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
			return actions{owedVerbs: everyVerb &^ beforeHello, command: func(t *Turn) {
				if t.Hello() != "" {
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

const starttlsKeywordName = "starttls-keyword"

func starttlsKeyword() Rule {
	return Rule{
		Name:  starttlsKeywordName,
		Heals: "Exchange 5.5 where it offers TLS by the keyword TLS, which nobody looks for",
		Doc: "The manual of Exchange 5.5 SP1 shows `250 TLS` in the EHLO reply, while the command is STARTTLS everywhere. " +
			"The keyword TLS becomes STARTTLS, for the client and for our own use of it, where STARTTLS itself is not offered.",
		Source: "Exchange 5.5 SP1 on-line help, How ESMTP Works; KB Q255753; RFC 2487, 3",
		setup: func(options) (actions, *ConfigError) {
			return actions{alias: [2]string{"TLS", "STARTTLS"}}, nil
		},
	}
}

func acceptEarlyTLS() Rule {
	return Rule{
		Name:  "accept-early-tls",
		Heals: "printers and scanners that begin with TLS on port 25 or 587, where a greeting is due",
		Doc: "HP's multifunction printers do, and a server takes the ClientHello for a command and answers 502. " +
			"If a client's first octets are there before the server's greeting and begin a TLS handshake, it is done first. " +
			"Needs client_tls.mode offer or require. A client whose ClientHello comes later than the greeting needs the option `wait`.",
		Source: "github.com/postalserver/postal/issues/2005",
		Options: []Option{{Name: "wait", Default: int64(0), Most: 5000,
			Doc: "milliseconds for which every client's greeting is held back, to see whether it begins with TLS"}},
		setup: func(o options) (actions, *ConfigError) {
			return actions{earlyTLS: true, earlyWait: o.number("wait")}, nil
		},
	}
}

func greetInClear() Rule {
	return Rule{
		Name:  "greet-in-clear",
		Heals: "clients that come in clear to a port where TLS begins at once, and wait for a greeting",
		Doc: "On a route with client_tls.mode implicit, a client that has sent nothing for three seconds is greeted in clear and " +
			"offered STARTTLS. Whoever stands between can hold a ClientHello back and so have the greeting in clear: it is " +
			"in no set, and only for networks that are trusted.",
		Source: "RFC 8314, 3.3",
		setup:  func(options) (actions, *ConfigError) { return actions{clearHello: true}, nil },
	}
}

func mend505() Rule {
	return Rule{
		Name:  "mend-505",
		Heals: "senders that do not know 505, with which IIS 4 asks for STARTTLS and Exchange 5.5 for AUTH",
		Doc: "505 is in no list of codes. Where it asks for STARTTLS or for authentication it becomes 530, which says the same " +
			"to everybody, with the enhanced code 5.7.0 and the server's text.",
		Source: "KB Q279214; KB Q181481; KB843106; RFC 3207, 4; RFC 4954, 6",
		setup: func(options) (actions, *ConfigError) {
			return actions{refusalVerbs: everyVerb &^ setOf(VerbGreeting, VerbMessage), reply: func(t *Turn) {
				r := t.Reply()
				if t.Lost() || r.Code != 505 || !asksForSTARTTLS(r) && !asksForAUTH(r) {
					return
				}
				r.Code = 530
				for i, text := range r.Lines {
					r.Lines[i] = "5.7.0 " + text
				}
			}}, nil
		},
	}
}

func asksForAUTH(r *Reply) bool {
	return strings.Contains(strings.ToUpper(strings.Join(r.Lines, " ")), "AUTHENTICAT")
}
