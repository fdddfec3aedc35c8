package heal

import "smtpshim/rewrite"

func oneLineReplies() rewrite.Rule {
	return rewrite.Rule{
		Name:  "one-line-replies",
		Heals: "clients that read one line of every reply, and take the next line for the reply to their next command",
		Doc: "Every reply of several lines becomes one line, with the text of all lines up to 512 octets. So does the reply to EHLO, " +
			"which then offers no extensions: such a client could not have read them. A 334 keeps only its first line, which is the " +
			"challenge.",
		Symptoms: []string{"220 ESMTP spoken here", "unexpected response code 220"},
		Source:   "Sendmail release notes, 8.7 (BROKEN_SMTP_PEERS); Exim specification, no_multiline_responses; RFC 5321, 4.2.1",
		Entries:  []string{"L01", "L80"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Multiline: rewrite.EveryVerb, Reply: func(t *rewrite.Turn) {
				r := t.Reply()
				switch {
				case r.Code == 334, (t.Verb() == rewrite.VerbEHLO || t.Verb() == rewrite.VerbLHLO) && r.Code < 300:
					r.Lines = r.Lines[:1]
				default:
					joinLines(t)
				}
			}}, nil
		},
	}
}
