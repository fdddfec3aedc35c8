package heal

import "smtpshim/rewrite"

func secondEHLO() rewrite.Rule {
	return rewrite.Rule{
		Name:  "second-ehlo",
		Heals: "servers that accept one EHLO in a session, and answer a second one with 503, as Exchange 5.5 does",
		Doc: "A client may send EHLO again after it has logged in or sent a mail, and this ends a transaction. If the server refuses the " +
			"second EHLO with 503, 500, 502 or 504, or hangs up, the server gets RSET, and the client gets the server's reply to the " +
			"first EHLO. If the connection is lost, nobody has logged in and no transaction is open, the proxy makes a fresh connection. " +
			"The rule remembers this for a day, and does not send a second EHLO in later sessions. If EHLO comes again because TLS or " +
			"XCLIENT ends at the proxy, the proxy does the same without this rule.",
		Symptoms: []string{"503 Bad Sequence"},
		Source:   "KB Q297269; RFC 5321, 4.1.4; RFC 4954, 4",
		Entries:  []string{"L23"},
		Options: []rewrite.Option{{Name: "when", Default: "used", Values: []string{"used", "always"},
			Doc: "\"used\": once the client has logged in or sent a mail; \"always\": at any EHLO that is not the first, as Exchange 5.5 wants it"}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			always := o.Text("when") == "always"
			return rewrite.Actions{Commands: hellos, Command: func(t *rewrite.Turn) {
				if always || !t.Untouched() {
					t.Recall()
				}
			}}, nil
		},
	}
}
