package heal

import (
	"strings"

	"smtpshim/rewrite"
)

func splitAuthLine() rewrite.Rule {
	return rewrite.Rule{
		Name:  "split-auth-line",
		Heals: "servers whose command lines are too short for an AUTH with its first response, as OAuth tokens are",
		Doc: "RFC 4954 has a client leave the first response off the AUTH command where that would be over 512 octets; many put a " +
			"token of 1,400 octets on it. A server that refuses such a line, before any challenge, hears AUTH with the " +
			"mechanism alone, and the response once it has asked for it. For a day later ones are split at once.",
		Symptoms: []string{"500 5.5.2 Error: command line too long", "555 5.5.2 Syntax error", "500 Line too long"},
		Source:   "RFC 4954, 4; github.com/PHPMailer/PHPMailer/issues/3169; github.com/roundcube/roundcubemail/issues/8623; github.com/jstedfast/MailKit/issues/1343",
		Entries:  []string{"L10", "L33", "L35"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			verbs := rewrite.SetOf(rewrite.VerbAUTH, rewrite.VerbXEXPS)
			return rewrite.Actions{
				State:   func() any { return new(bool) }, // whether this server has refused a long line
				Command: sayShortAUTH, Commands: verbs,
				Reply: splitAUTH, Replies: verbs,
			}, nil
		},
	}
}

// commandLength is how long a command may be, in octets with CRLF (RFC 5321, 4.5.3.1.4).
const commandLength = 512

// longAUTH is what is remembered of a server that refuses a long line.
const longAUTH = "refuses long AUTH lines"

func sayShortAUTH(t *rewrite.Turn) {
	if len(t.Line())+len("\r\n") <= commandLength {
		return
	}
	short, response := cutResponse(t.Line())
	if response != "" && (*t.State().(*bool) || t.Remembers(longAUTH)) {
		t.SetLine(short)
	}
}

// splitAUTH answers the server's 334 to the short command, and says that where
// the long one was refused.
func splitAUTH(t *rewrite.Turn) {
	if t.Lost() || t.Challenged() || len(t.Said())+len("\r\n") <= commandLength {
		return
	}
	short, response := cutResponse(t.Said())
	r := t.Reply()
	switch line := string(t.Line()); {
	case response == "":
	case line == short && r.Code == 334:
		*t.State().(*bool) = true
		t.Remember(longAUTH, refusedLasts)
		t.Again(response)
	case line != string(t.Said()):
	case r.Code == 421 && isTooLong(r) && t.Untouched() && t.Fresh() == 0:
		t.AgainAfresh(short)
	case r.Code == 500, r.Code == 501, r.Code == 555, r.Code >= 500 && isTooLong(r):
		t.Again(short)
	}
}

// isTooLong reports whether a refusal is for the length of the line.
func isTooLong(r *rewrite.Reply) bool {
	text := strings.ToLower(strings.Join(r.Lines, " "))
	return strings.Contains(text, "too long") || strings.Contains(text, "too large") || strings.Contains(text, "length")
}

// cutResponse takes the first response off an AUTH command; it is "" if there is
// none.
func cutResponse(line []byte) (short, response string) {
	fields := strings.Fields(string(line))
	if len(fields) != 3 || fields[2] == "=" {
		return string(line), ""
	}
	return fields[0] + " " + fields[1], fields[2]
}
