package heal

import (
	"slices"
	"strings"

	"smtpshim/rewrite"
)

func replyTexts() rewrite.Rule {
	return rewrite.Rule{
		Name:  "reply-texts",
		Heals: "clients that need a text after the code of a reply, which some servers leave out",
		Doc: "A server may send a code alone, or a code and a blank (RFC 5321, 4.2). Some clients read the text and fail without it. If " +
			"no line of a reply has a text, the rule adds one that describes the code. A reply to EHLO, whose lines are keywords, and a " +
			"334, whose text is a challenge, stay as they are.",
		Symptoms: []string{"Unexpected end of stream (no more line)"},
		Source:   "github.com/ctabin/smtp4j/issues/60 (354); KB Q112286 (250); nmap's service probes, Konica Minolta (220, 501); RFC 5321, 4.2",
		Entries:  []string{"L61", "L89"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Odd: rewrite.EveryVerb &^ rewrite.SetOf(rewrite.VerbEHLO, rewrite.VerbLHLO), Reply: giveText}, nil
		},
	}
}

func giveText(t *rewrite.Turn) {
	r := t.Reply()
	if r.Code == 334 || slices.ContainsFunc(r.Lines, hasText) {
		return
	}
	last := len(r.Lines) - 1
	switch r.Code {
	case 220:
		r.Lines[last] = "ready"
		if t.Verb() == rewrite.VerbGreeting {
			r.Lines[0] = t.Hostname() // the host name comes first (RFC 5321, 4.2)
		}
	case 221:
		r.Lines[last] = "closing connection"
	case 235:
		r.Lines[last] = "authentication successful"
	case 354:
		r.Lines[last] = "start mail input; end with <CRLF>.<CRLF>" // RFC 5321, 4.2.3
	case 421:
		r.Lines[last] = "service not available, closing connection"
	default:
		r.Lines[last] = [...]string{"OK", "go on", "try again later", "refused"}[min(max(r.Code/100, 2), 5)-2]
	}
}

// hasText reports whether a line of a reply has text other than blanks.
func hasText(text string) bool { return strings.Trim(text, blanks) != "" }
