package heal

import (
	"regexp"

	"smtpshim/rewrite"
)

func tooManyRecipients() rewrite.Rule {
	return rewrite.Rule{
		Name:  "too-many-recipients",
		Heals: "senders that bounce the recipients which a server has no more room for in one message",
		Doc: "RFC 821 had 552 for too many recipients, and some servers say 522. A sender that takes either for a permanent " +
			"refusal returns the mail; 452 has it send to the rest in another message. A 552 or 522 to RCPT becomes 452, with " +
			"the enhanced code 4.5.3, where neither an enhanced code nor the text says that it is about a full mailbox or anything else.",
		Symptoms: []string{"552 Too many recipients", "522 too many recipients", "552 5.5.3"},
		Source:   "RFC 5321, 4.5.3.1.10; KB Q176477; KB822105",
		Entries:  []string{"L48", "L86"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			fullMailbox := regexp.MustCompile(`(?i)\b(?:full|mailbox|quota)\b`)
			return rewrite.Actions{Refusals: rewrite.SetOf(rewrite.VerbRCPT), Reply: func(t *rewrite.Turn) {
				r := t.Reply()
				if r.Code != 552 && r.Code != 522 {
					return
				}
				for _, text := range r.Lines {
					status, _ := cutStatus(text)
					if status != "" && status != "5.5.3" || status == "" && fullMailbox.MatchString(text) {
						return // 5.2.2 is a full mailbox
					}
				}
				refuseAs(r, 452, "4.5.3")
			}}, nil
		},
	}
}
