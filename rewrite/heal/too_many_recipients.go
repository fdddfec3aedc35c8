package heal

import (
	"regexp"

	"smtpshim/rewrite"
)

func tooManyRecipients() rewrite.Rule {
	return rewrite.Rule{
		Name:  "too-many-recipients",
		Heals: "senders that bounce the recipients for which a server has no room in one message",
		Doc: "In RFC 821, 552 is the code for too many recipients, and some servers send 522. A sender that takes either for a permanent " +
			"refusal returns the mail; after 452 it sends to the other recipients in another message. The rule changes a 552 or 522 to " +
			"RCPT to 452, with the enhanced code 4.5.3, unless an enhanced code or the text shows that the reason is a full mailbox or " +
			"anything else.",
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
