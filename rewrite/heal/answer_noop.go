package heal

import (
	"strings"

	"smtpshim/rewrite"
)

func answerNOOP() rewrite.Rule {
	return rewrite.Rule{
		Name:  "answer-noop",
		Heals: "a Cisco PIX that overwrites parts of a message with X's once the client has sent NOOP",
		Doc: "PIX 4.2(2) takes what follows a NOOP for commands that it does not know (CSCdk46673). If a PIX has overwritten the " +
			"greeting, the rule answers NOOP with 250, and the server never receives it. So a client that sends NOOP does not keep the " +
			"session open: the server's own timeout counts. The proxy itself sends no NOOP.",
		Source:  "KB Q197183; KB320027; KB Q295725",
		Entries: []string{"L09"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{
				State:   func() any { return new(bool) }, // whether a PIX has masked the server's greeting
				Replies: rewrite.SetOf(rewrite.VerbGreeting), Reply: func(t *rewrite.Turn) {
					if !t.Lost() && isPIX(strings.Join(t.Reply().Lines, " ")) {
						*t.State().(*bool) = true
					}
				},
				Commands: rewrite.SetOf(rewrite.VerbNOOP), Command: func(t *rewrite.Turn) {
					if *t.State().(*bool) {
						t.Answer(rewrite.Reply{Code: 250, Lines: []string{"2.0.0 ok"}})
					}
				},
			}, nil
		},
	}
}

// isPIX reports whether a greeting has passed a PIX, which masks it with asterisks
// (KB320027) or, in version 4, replaces it by SMTP/cmap (KB Q295725).
func isPIX(greeting string) bool {
	return 2*strings.Count(greeting, "*") > len(greeting) || strings.HasPrefix(greeting, "SMTP/cmap")
}
