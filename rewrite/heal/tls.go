package heal

import (
	"strings"

	"smtpshim/rewrite"
)

func repeatEHLO() rewrite.Rule {
	return rewrite.Rule{
		Name:  "repeat-ehlo",
		Heals: "clients that send MAIL after STARTTLS without sending EHLO again, as Exchange 5.5 may",
		Doc: "Once TLS has begun, everything that client and server have exchanged before is void, and servers refuse MAIL with `503 Send " +
			"hello first`. If a client sends anything but EHLO first, the rule sends the client's last EHLO again, and drops the reply. " +
			"Without this rule such a client gets 503.",
		Symptoms: []string{"503 5.5.2 Send hello first", "503 5.5.1 EHLO first"},
		Source:   "KB Q279214; RFC 3207, 4.2; xhit/go-simple-mail#94",
		Entries:  []string{"L24", "L107"},
		Needs:    "client_tls.mode offer, require or implicit, or a server_tls.mode other than off",
		Acts: func(client rewrite.ClientTLS, server rewrite.ServerTLS) bool {
			return client >= rewrite.ClientTLSOffer || server != rewrite.ServerTLSOff
		},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			owed := rewrite.EveryVerb &^ (rewrite.BeforeHello | rewrite.SetOf(rewrite.VerbBDAT)) // MAIL comes before BDAT
			return rewrite.Actions{Owed: owed, Command: func(t *rewrite.Turn) {
				if t.Hello() != "" {
					t.First(t.Hello())
				}
			}}, nil
		},
	}
}

func retrySTARTTLS() rewrite.Rule {
	return rewrite.Rule{
		Name:  "retry-starttls",
		Heals: "IIS 4 and 5 with 128-bit TLS required: 505 Must issue a STARTTLS command first, although TLS is up",
		Doc: "IIS refuses the first MAIL of the first TLS session of a client, and Exchange 5.5 bounces the message; a second attempt " +
			"succeeds. A 505 or 530 that asks for STARTTLS although TLS is in use does not pass. Instead the proxy makes a fresh " +
			"connection, with EHLO, STARTTLS (resuming the TLS session) and EHLO, and sends MAIL again, twice at most. After that, or if " +
			"AUTH or an earlier message may not be repeated, the client gets 451 and keeps the mail.",
		Symptoms: []string{"505 Must issue a STARTTLS command first", "530 5.7.0 Must issue a STARTTLS command first",
			"530 5.7.0 Must issue a start TLS command first."},
		Source:  "KB Q279214; KB329061",
		Entries: []string{"L86", "L107"},
		Needs:   "a server_tls.mode other than off",
		Acts:    func(_ rewrite.ClientTLS, server rewrite.ServerTLS) bool { return server != rewrite.ServerTLSOff },
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{
				Commands: rewrite.SetOf(rewrite.VerbMAIL), Command: func(t *rewrite.Turn) {
					if t.ServerTLS() && t.Untouched() {
						t.Hold()
					}
				},
				Refusals: rewrite.SetOf(rewrite.VerbMAIL), Reply: retryMAIL,
			}, nil
		},
	}
}

func retryMAIL(t *rewrite.Turn) {
	r := t.Reply()
	if t.Lost() || !t.ServerTLS() || r.Code != 505 && r.Code != 530 || !asksForSTARTTLS(r) {
		return
	}
	if t.MayRepeat() && t.Fresh() < 2 {
		t.AgainAfresh(string(t.Line()))
		return
	}
	*r = rewrite.Reply{Code: 451, Lines: []string{"4.7.0 the server asks for STARTTLS although TLS is in use; try again later"}}
}

func asksForSTARTTLS(r *rewrite.Reply) bool {
	text := strings.ToUpper(strings.Join(r.Lines, " "))
	return strings.Contains(text, "STARTTLS") || strings.Contains(text, "START TLS")
}

func starttlsKeyword() rewrite.Rule {
	return rewrite.Rule{
		Name:  "starttls-keyword",
		Heals: "Exchange 5.5 where it offers TLS by the keyword TLS, which nobody looks for",
		Doc: "The manual of Exchange 5.5 SP1 has `250 TLS` in the EHLO reply, while the command is STARTTLS everywhere. If the server " +
			"does not offer STARTTLS itself, the rule changes the keyword TLS to STARTTLS, for the client and for the proxy's own use.",
		Symptoms: []string{"STARTTLS extension not supported by server"},
		Source:   "Exchange 5.5 SP1 on-line help, How ESMTP Works; KB Q255753; RFC 2487, 3; docusealco/docuseal#372 (its text)",
		Entries:  []string{"L102"},
		Needs:    "client_tls.mode pass, or a server_tls.mode other than off",
		Acts: func(client rewrite.ClientTLS, server rewrite.ServerTLS) bool {
			return client == rewrite.ClientTLSPass || server != rewrite.ServerTLSOff
		},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Offer: func(_ rewrite.Session, e rewrite.Extensions) { e.Rename("TLS", "STARTTLS") }}, nil
		},
	}
}

func acceptEarlyTLS() rewrite.Rule {
	return rewrite.Rule{
		Name:  "accept-early-tls",
		Heals: "printers and scanners that begin with TLS on port 25 or 587, where a greeting is due",
		Doc: "HP's multifunction printers do so; a server takes the ClientHello for a command and answers 502. If a client's first octets " +
			"arrive before the server's greeting and begin a TLS handshake, the handshake comes first. A client whose ClientHello " +
			"arrives after the greeting needs the option `wait`.",
		Symptoms: []string{"502 Invalid/unsupported command"},
		Source:   "github.com/postalserver/postal/issues/2005",
		Entries:  []string{"L13"},
		Needs:    "client_tls.mode offer or require",
		Acts: func(client rewrite.ClientTLS, _ rewrite.ServerTLS) bool {
			return client == rewrite.ClientTLSOffer || client == rewrite.ClientTLSRequire
		},
		Options: []rewrite.Option{{Name: "wait", Default: int64(0), Most: 5000,
			Doc: "milliseconds for which every client's greeting is held back, to see whether the client begins with TLS"}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			wait := o.Number("wait")
			return rewrite.Actions{Open: func(c *rewrite.Opening) {
				switch {
				case !c.EndsClientTLS() || c.TLSDue():
				case rewrite.IsTLS(c.Octets()):
					c.BeginTLS()
				default:
					c.Wait(wait)
				}
			}}, nil
		},
	}
}

func greetInClear() rewrite.Rule {
	return rewrite.Rule{
		Name:  "greet-in-clear",
		Heals: "clients that connect in clear to a port where TLS begins at once, and wait for a greeting",
		Doc: "On a route with client_tls.mode implicit, a client that has sent nothing for three seconds gets a greeting in clear and is " +
			"offered STARTTLS. An attacker on the network can delay a ClientHello, and so force the greeting in clear. So the rule is in " +
			"no set, and only for trusted networks.",
		Symptoms: []string{"Greeting never received"},
		Source:   "RFC 8314, 3.3; nodemailer/smtp-server#166",
		Entries:  []string{"L13"},
		Needs:    "client_tls.mode implicit",
		Acts:     func(client rewrite.ClientTLS, _ rewrite.ServerTLS) bool { return client == rewrite.ClientTLSImplicit },
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Open: openInClear}, nil
		},
	}
}

// openInClear waits for the first octets of a client that should begin with TLS. If the
// client sends nothing, or something else, it is greeted in clear.
func openInClear(c *rewrite.Opening) {
	switch {
	case !c.TLSDue() || rewrite.IsTLS(c.Octets()):
	case len(c.Octets()) == 0 && !c.Waited():
		c.Wait(3000)
	default:
		c.GoInClear()
	}
}

func mend505() rewrite.Rule {
	return rewrite.Rule{
		Name:  "mend-505",
		Heals: "senders that do not know 505, by which IIS 4 asks for STARTTLS and Exchange 5.5 for AUTH",
		Doc: "505 is in no list of codes. If it asks for STARTTLS or for authentication, the rule changes it to 530, which every client " +
			"knows, with the enhanced code 5.7.0 and the server's text.",
		Symptoms: []string{"505 Authentication required", "505 Must issue a STARTTLS command first"},
		Source:   "KB Q279214; KB Q181481; KB843106; RFC 3207, 4; RFC 4954, 6",
		Entries:  []string{"L86", "L107"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Refusals: rewrite.EveryVerb &^ rewrite.SetOf(rewrite.VerbGreeting, rewrite.VerbMessage), Reply: func(t *rewrite.Turn) {
				r := t.Reply()
				if t.Lost() || r.Code != 505 || !asksForSTARTTLS(r) && !asksForAUTH(r) {
					return
				}
				refuseAs(r, 530, "5.7.0")
			}}, nil
		},
	}
}

func asksForAUTH(r *rewrite.Reply) bool {
	return strings.Contains(strings.ToUpper(strings.Join(r.Lines, " ")), "AUTHENTICAT")
}
