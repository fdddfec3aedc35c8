package heal

import "smtpshim/rewrite"

func sizeZero() rewrite.Rule {
	return rewrite.Rule{
		Name:  "size-zero",
		Heals: "clients that take SIZE 0, by which a server says that it has no limit, for a limit of nothing",
		Doc: "RFC 1870 has SIZE 0 mean that no fixed limit is in force, and SIZE without a number say nothing of one. Some clients " +
			"compare every message with the 0 and send none. SIZE 0 becomes SIZE, with which the client may still declare the size of a message.",
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
