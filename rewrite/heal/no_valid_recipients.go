package heal

import "smtpshim/rewrite"

func noValidRecipients() rewrite.Rule {
	return rewrite.Rule{
		Name:  "no-valid-recipients",
		Heals: "servers that take a message although they have refused all its recipients, and lose it",
		Doc: "If the server has refused every recipient of a mail, the client gets 554 for DATA, or 451 if a refusal was temporary, and " +
			"the server does not get the command. If DATA was sent in a group with the recipients, and the server answers 354, the rule " +
			"refuses the message at its end, and the server never gets the end. A message that consists of its end alone passes: a " +
			"client that has read the refusals cancels in this way.",
		Source: "Sendmail 5.61; RFC 2920, 3.1; RFC 5321, 3.3",
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{
				Commands: rewrite.SetOf(rewrite.VerbDATA), Command: func(t *rewrite.Turn) {
					if r := t.Recipients(); r.AllRefused() {
						t.Answer(refusalFor(r))
					}
				},
				Message: func(m *rewrite.Text) rewrite.Filter {
					r := m.Recipients()
					if !r.AllRefused() {
						return rewrite.Filter{}
					}
					return rewrite.Filter{Look: func(m *rewrite.Text) {
						if m.Octets() > int64(len(".\r\n")) {
							m.Refuse(refusalFor(r))
						}
					}}
				},
			}, nil
		},
	}
}

// refusalFor returns the reply to a message with these recipients.
func refusalFor(r rewrite.Recipients) rewrite.Reply {
	if r.Deferred > 0 {
		return rewrite.Reply{Code: 451, Lines: []string{"4.5.1 no valid recipients"}}
	}
	return rewrite.Reply{Code: 554, Lines: []string{"5.5.1 no valid recipients"}}
}
