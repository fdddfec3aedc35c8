package heal

import "smtpshim/rewrite"

func secondEHLO() rewrite.Rule {
	return rewrite.Rule{
		Name:  "second-ehlo",
		Heals: "servers that take one EHLO in a session, and answer a second one with 503, as Exchange 5.5 does",
		Doc: "A client may say EHLO again once it has logged in or has sent a mail, and that ends a transaction. Where the server " +
			"refuses it with 503, 500, 502 or 504, or hangs up, the server gets RSET, and the client what the server has answered " +
			"to the first EHLO. If the connection is lost, and nobody has logged in and no transaction is open, a fresh one is made. That " +
			"is remembered for a day, and later sessions do not ask. Where EHLO comes again because of TLS or XCLIENT that end " +
			"here, the same is done without the rule.",
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
