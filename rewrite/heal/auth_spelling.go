package heal

import (
	"slices"
	"strings"

	"smtpshim/rewrite"
)

func authSpelling() rewrite.Rule {
	return rewrite.Rule{
		Name:  "auth-spelling",
		Heals: "clients that know AUTH=LOGIN or AUTH LOGIN, before servers that offer the other",
		Doc: "An obsolete form of AUTH has an equals sign after the keyword. Outlook Express 4 to 6 and Exchange 5.0 look for this form, " +
			"and do not log in without it. Lotus Domino 5.0.4 offers no other, and modern clients find no AUTH there. If the server " +
			"offers AUTH only with the sign, the rule also offers it without, to the proxy and to the client. Old clients need the " +
			"option `show`, which is off by default: strict modern clients refuse a keyword with an equals sign in it.",
		Symptoms: []string{"SMTP AUTH extension not supported by server", "EHLO keyword contains invalid character"},
		Source: "Postfix, broken_sasl_auth_clients, and HISTORY 20010121 and 20010515; RFC 4954; " +
			"github.com/thunderbird/thunderbird-android/issues/8715",
		Entries: []string{"L26", "L30"},
		Options: []rewrite.Option{{Name: "show", Default: "missing", Values: []string{"missing", "both", "blank"},
			Doc: "\"missing\": AUTH LOGIN where the server offers AUTH=LOGIN alone; \"both\": AUTH=LOGIN too, wherever there is AUTH; " +
				"\"blank\": AUTH LOGIN, and no AUTH= at all"}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			a := rewrite.Actions{Offer: func(_ rewrite.Session, e rewrite.Extensions) { addBlankAUTH(e) }}
			switch o.Text("show") {
			case "both":
				a.Replies, a.Reply = rewrite.SetOf(rewrite.VerbEHLO), func(t *rewrite.Turn) { addEqualsAUTH(t.Extensions()) }
			case "blank":
				a.Replies, a.Reply = rewrite.SetOf(rewrite.VerbEHLO), func(t *rewrite.Turn) { dropEqualsAUTH(t.Extensions()) }
			}
			return a, nil
		},
	}
}

const (
	blankAUTH  = "AUTH "
	equalsAUTH = "AUTH="
)

// addBlankAUTH adds an AUTH line with the mechanisms of AUTH= lines, unless AUTH lines
// already list some.
func addBlankAUTH(e rewrite.Extensions) {
	if mechanisms := authBehind(e, equalsAUTH); len(mechanisms) > 0 && len(authBehind(e, blankAUTH)) == 0 {
		e.Add(blankAUTH + strings.Join(mechanisms, " "))
	}
}

// addEqualsAUTH adds an AUTH= line, the old spelling.
func addEqualsAUTH(e rewrite.Extensions) {
	if mechanisms := authBehind(e, blankAUTH); len(mechanisms) > 0 && len(authBehind(e, equalsAUTH)) == 0 {
		e.Add(equalsAUTH + strings.Join(mechanisms, " "))
	}
}

// dropEqualsAUTH removes the AUTH= lines.
func dropEqualsAUTH(e rewrite.Extensions) {
	if len(authBehind(e, equalsAUTH)) == 0 {
		return
	}
	mechanisms := authBehind(e, blankAUTH)
	e.Drop("AUTH")
	if len(mechanisms) > 0 {
		e.Add(blankAUTH + strings.Join(mechanisms, " "))
	}
}

// authBehind returns the mechanisms of the lines that begin with spelling, without
// duplicates.
func authBehind(e rewrite.Extensions, spelling string) (mechanisms []string) {
	if !e.Has("AUTH") {
		return nil
	}
	for _, line := range e.Lines() {
		if len(line) < len(spelling) || !strings.EqualFold(line[:len(spelling)], spelling) {
			continue
		}
		for _, m := range strings.Fields(line[len(spelling):]) {
			if !slices.Contains(mechanisms, m) {
				mechanisms = append(mechanisms, m)
			}
		}
	}
	return mechanisms
}
