package heal

import "smtpshim/rewrite"

func sizeZero() rewrite.Rule {
	return rewrite.Rule{
		Name:  "size-zero",
		Heals: "clients that take SIZE 0, which means that there is no limit, for a limit of zero octets",
		Doc: "By RFC 1870, SIZE 0 means that there is no fixed limit, and SIZE without a number says nothing about a limit. Some clients " +
			"compare every message with the 0 and send none. The rule changes SIZE 0 to SIZE, so that the client may still declare the " +
			"size of a message.",
		Symptoms: []string{"exceeds the maximum allowed size of 0.00 MB"},
		Source:   "RFC 1870, 4; github.com/frappe/frappe/issues/38429; github.com/HubSpot/NioSmtpClient/pull/63",
		Entries:  []string{"L47"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Replies: rewrite.SetOf(rewrite.VerbEHLO, rewrite.VerbLHLO), Reply: func(t *rewrite.Turn) {
				if t.Extensions().Has("SIZE", "0") {
					t.Extensions().Set("SIZE", "")
				}
			}}, nil
		},
	}
}
