package heal

import (
	"strings"

	"smtpshim/rewrite"
)

func advertiseESMTP() rewrite.Rule {
	return rewrite.Rule{
		Name:  "advertise-esmtp",
		Heals: "Exchange 5.0, which speaks ESMTP and does not say so in its greeting",
		Doc: "Clients that look for the word ESMTP in the greeting stay with HELO, and have no SIZE, AUTH, DSN or STARTTLS. " +
			"A 220 greeting without the word gets it behind the host name, or in a line of its own as Microsoft's fix does it. " +
			"Should the server not know EHLO after all, fall-back-to-helo keeps the promise.",
		Source:  "KB Q164060; KB Q194131; RFC 1869, 4.1.1",
		Entries: []string{"L02", "L06"},
		Options: []rewrite.Option{{Name: "style", Default: "word", Values: []string{"word", "line"},
			Doc: "\"word\": 220 host ESMTP rest; \"line\": 220-host rest, 220 ESMTP spoken here"}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			advertise := advertiseWord
			if o.Text("style") == "line" {
				advertise = advertiseLine
			}
			return rewrite.Actions{Replies: rewrite.SetOf(rewrite.VerbGreeting), Reply: func(t *rewrite.Turn) {
				if t.Reply().Code != 220 {
					return
				}
				for _, line := range t.Reply().Lines {
					for word := range strings.FieldsFuncSeq(line, isPunctuation) {
						if strings.EqualFold(word, "ESMTP") || strings.EqualFold(word, "LMTP") {
							return
						}
					}
				}
				advertise(t)
			}}, nil
		},
	}
}

// isPunctuation says what may surround a word: "(ESMTP)" has it, "ESMTPS" not.
func isPunctuation(r rune) bool {
	return r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z' && r < 0x80
}

func advertiseWord(t *rewrite.Turn) {
	host, rest, _ := strings.Cut(t.Reply().Lines[0], " ")
	if host == "" {
		host = t.Hostname()
	}
	t.Reply().Lines[0] = strings.TrimRight(host+" ESMTP "+rest, " ")
}

func advertiseLine(t *rewrite.Turn) {
	t.Reply().Lines = append(t.Reply().Lines, "ESMTP spoken here")
}

func fallBackToHELO() rewrite.Rule {
	return rewrite.Rule{
		Name:  "fall-back-to-helo",
		Heals: "servers that refuse EHLO or hang up on it, for clients that do not try HELO by themselves",
		Doc: "Sendmail 8.6, old gateways and firewalls answer EHLO with 500 or hang up. HELO is said instead, on a fresh " +
			"connection if need be, and the client gets an EHLO answer without keywords. A 501 for the name in it passes. " +
			"Where the server hangs up, EHLO is said once more before, and HELO never to a server that greets with the word ESMTP " +
			"or has answered EHLO within a day: one lost connection must not cost TLS and AUTH.",
		Source:  "KB Q245787; KB Q100352; KB Q197142; RFC 5321, 3.2 and 4.1.4",
		Entries: []string{"L07", "L20", "L21"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Replies: rewrite.SetOf(rewrite.VerbEHLO), Reply: helloInstead}, nil
		},
	}
}

func helloInstead(t *rewrite.Turn) {
	r := t.Reply()
	switch isEHLO := rewrite.ParseVerb(t.Line()) == rewrite.VerbEHLO; {
	case t.Lost() && t.Authenticated(): // the login is lost with the connection
	case t.Lost() && isEHLO:
		insist(t)
	case t.Lost() && t.Fresh() == 0: // some refuse EHLO and hang up then
		t.AgainAfresh(heloFor(t))
	case isEHLO && refusesEHLO(r):
		t.Again(heloFor(t))
	case !isEHLO && r.Code == 250:
		r.Lines = r.Lines[:1] // any further line would be a keyword
	}
}

// hangsUp is remembered of a server, for a day, that has hung up on EHLO twice in a row.
const (
	hangsUp     = "hangs up on EHLO"
	hangsUpRest = 24 * 60 * 60
)

// insist says EHLO once more to a server that has hung up on it, and HELO if that is no
// use, or has been none before.
func insist(t *rewrite.Turn) {
	switch {
	case t.Fresh() == 0 && (t.SpeaksESMTP() || !t.Remembers(hangsUp)):
		t.AgainAfresh(string(t.Line()))
	case t.SpeaksESMTP():
	default:
		t.Remember(hangsUp, hangsUpRest)
		t.AgainAfresh(heloFor(t))
	}
}

// heloFor is HELO with the name that the line has.
func heloFor(t *rewrite.Turn) string {
	return strings.TrimRight("HELO "+string(rewrite.Argument(t.Line())), blanks)
}

// refusesEHLO says that the server does not know EHLO, rather than the name in it.
func refusesEHLO(r *rewrite.Reply) bool {
	switch r.Code {
	case 500, 502, 504, 550, 554:
		return true
	case 501:
		return !blamesArgument(r)
	}
	return false
}

// blamesArgument reads a 501, whose code serves for unknown commands too.
func blamesArgument(r *rewrite.Reply) bool {
	text := strings.ToLower(strings.Join(r.Lines, " "))
	for _, word := range []string{"5.5.4", "address", "argument", "domain", "host", "name", "parameter", "operand"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}
