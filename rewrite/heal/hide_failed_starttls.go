package heal

import "smtpshim/rewrite"

func hideFailedSTARTTLS() rewrite.Rule {
	return rewrite.Rule{
		Name:  "hide-failed-starttls",
		Heals: "servers that offer STARTTLS and refuse it, for clients that then give up the mail",
		Doc: "A server without a certificate may offer STARTTLS all the same, and answer it with 454 or 554. With client_tls.mode pass, " +
			"STARTTLS is between client and server, and the refusal reaches the client, which may bounce the mail. After a refusal the " +
			"rule hides the keyword for a while. An attacker on the network can forge the refusal, and mail then goes in clear. So the " +
			"rule is in no set, and only for trusted networks. If smtpshim itself uses TLS with the server, server_tls.mode decides " +
			"instead.",
		Symptoms: []string{"554 Unable to initialize security subsystem", "454 TLS currently unavailable", "454 TLS not available due to temporary reason", "454 4.7.0 TLS not available due to local problem"},
		Source:   "KB Q237327; RFC 3207, 4; github.com/bbottema/simple-java-mail/issues/266; Sendmail, Try_TLS; Postfix, smtpd",
		Entries:  []string{"L100"},
		Needs:    "client_tls.mode pass and server_tls.mode off",
		Acts: func(client rewrite.ClientTLS, server rewrite.ServerTLS) bool {
			return client == rewrite.ClientTLSPass && server == rewrite.ServerTLSOff
		},
		Options: []rewrite.Option{{Name: "seconds", Default: int64(3600), Most: dayLong,
			Doc: "seconds for which the keyword is hidden after a refusal"}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			rest := int(o.Number("seconds"))
			return rewrite.Actions{
				State:   func() any { return new(bool) }, // whether the server has refused STARTTLS in this session
				Replies: rewrite.SetOf(rewrite.VerbEHLO, rewrite.VerbSTARTTLS), Reply: func(t *rewrite.Turn) {
					switch {
					case t.Lost() || t.EndsClientTLS() || t.ClientTLS():
					case t.Verb() == rewrite.VerbEHLO:
						if t.Extensions().Has("STARTTLS") && (*t.State().(*bool) || t.Remembers(refusesSTARTTLS)) {
							t.Extensions().Drop("STARTTLS")
						}
					case t.Reply().Code == 454, t.Reply().Code >= 500 && t.Reply().Code != 503: // 503: EHLO must come first
						*t.State().(*bool) = true
						t.Remember(refusesSTARTTLS, rest)
					}
				},
			}, nil
		},
	}
}

// refusesSTARTTLS is the key under which a server is remembered that refuses STARTTLS.
const refusesSTARTTLS = "refuses STARTTLS"
