package heal

import (
	"regexp"
	"strings"

	"smtpshim/rewrite"
)

func hideESMTP() rewrite.Rule {
	return rewrite.Rule{
		Name:  "hide-esmtp",
		Heals: "clients that send EHLO if the greeting has the word ESMTP, and work better with HELO",
		Doc: "The rule changes the word ESMTP in a 220 greeting to SMTP, as the switch AdvertiseSMTPExtensions of Exchange 5.0 and 5.5 " +
			"does, so that clients that go by the greeting use HELO. If a client sends EHLO all the same, it passes. Limit the rule to " +
			"such clients with the option `clients`: without EHLO there is no AUTH, SIZE, DSN or STARTTLS.",
		Source:  "KB Q194131; RFC 1869, 4.1.1",
		Entries: []string{"L02"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			word := regexp.MustCompile(`(?i)\bESMTP\b`)
			return rewrite.Actions{Replies: rewrite.SetOf(rewrite.VerbGreeting), Reply: func(t *rewrite.Turn) {
				if t.Lost() || t.Reply().Code != 220 {
					return
				}
				for i, text := range t.Reply().Lines {
					t.Reply().Lines[i] = word.ReplaceAllString(text, "SMTP")
				}
			}}, nil
		},
	}
}

func hostNameFirst() rewrite.Rule {
	return rewrite.Rule{
		Name:  "host-name-first",
		Heals: "clients that want the server's name as the first word of the greeting and of the answer to HELO and EHLO",
		Doc: "IBM VM SMTP V2R2 hangs up on `220 All set, fire away`, and RFC 5321 requires a domain as the first word. If the first word " +
			"is neither a domain with a dot nor an address in brackets, the rule puts a name before the text: the option `name`, or the " +
			"name in the greeting, or the proxy's own. The name replaces words that a firewall has overwritten with asterisks.",
		Symptoms: []string{"220 All set, fire away", "250 Hi there, pleased to meet you", "220 SMTP/cmap"},
		Source:   "KB Q102107; KB Q112286; KB320027; RFC 5321, 4.2; rapid7/recog (Lotus Domino)",
		Entries:  []string{"L03", "L06", "L110", "L112", "L125"},
		Options: []rewrite.Option{
			{Name: "name", Default: "", Doc: "the name that is put in; default: the one of the server's greeting, or else the proxy's own"},
		},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			h := hostNames{name: o.Text("name")}
			if h.name != "" && !isHelloName(h.name) {
				return rewrite.Actions{}, notHelloName("name", h.name)
			}
			return rewrite.Actions{
				State:   func() any { return new(greetingHost) },
				Replies: hellos | rewrite.SetOf(rewrite.VerbGreeting), Reply: h.put,
			}, nil
		},
	}
}

// hostNames adds a host name to greetings and to replies to hellos.
type hostNames struct{ name string }

// A greetingHost is the host name in the server's greeting; "" if it has none.
type greetingHost struct{ name string }

func (h hostNames) put(t *rewrite.Turn) {
	r := t.Reply()
	if t.Lost() || r.Code != 220 && r.Code != 250 {
		return
	}
	first, _, _ := strings.Cut(r.Lines[0], " ")
	isHost := isHostName(first)
	if isHost && t.Verb() == rewrite.VerbGreeting {
		t.State().(*greetingHost).name = strings.TrimRight(first, ".,:;")
	}
	if isHost {
		return
	}
	name := h.name
	if name == "" {
		name = t.State().(*greetingHost).name
	}
	if name == "" {
		name = t.Hostname()
	}
	r.Lines[0] = strings.TrimRight(name+" "+strings.TrimLeft(unpainted(r.Lines[0]), " "), " ")
}

// isHostName reports whether a word names a host: it is a domain of several labels, the
// last of which is not a number, or an address in brackets. A single label may be any
// word. Underscores, and punctuation behind the name, are allowed.
func isHostName(word string) bool {
	if strings.HasPrefix(word, "[") {
		return isHelloName(word)
	}
	word = strings.ReplaceAll(strings.TrimRight(word, ".,:;"), "_", "-")
	dot := strings.LastIndexByte(word, '.')
	return dot > 0 && strings.Trim(word[dot+1:], "0123456789") != "" && isDomain(word)
}

// unpainted returns a text without the words that a PIX has masked. A PIX leaves the
// characters 2, 0 and blank unmasked (KB320027).
func unpainted(text string) string {
	if strings.Count(text, "*") < leastPainted {
		return text
	}
	var left []string
	for word := range strings.FieldsSeq(text) {
		if strings.Count(word, "*") < leastPainted || strings.Trim(word, "*20") != "" {
			left = append(left, word)
		}
	}
	return strings.Join(left, " ")
}

// leastPainted is the least number of asterisks in a masked word. Fewer may be an
// ornament.
const leastPainted = 4

func refusedGreeting() rewrite.Rule {
	return rewrite.Rule{
		Name:  "refused-greeting",
		Heals: "servers that refuse the client in their greeting, and continue all the same, for clients that ignore the refusal",
		Doc: "After a greeting of 4xx or 5xx the rule answers every command but QUIT with 503 (BDAT with 502), and the server does not " +
			"get it. The text of the greeting passes unchanged: senders use it to decide whether to try another server.",
		Source:  "RFC 5321, 3.1; Postfix smtp_skip_5xx_greeting",
		Entries: []string{"L05"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{
				State:    func() any { return new(bool) }, // whether the server's greeting was a refusal
				Refusals: rewrite.SetOf(rewrite.VerbGreeting), Reply: func(t *rewrite.Turn) { *t.State().(*bool) = true },
				// Without an offer, BDAT is refused unless some rule sees it.
				Commands: rewrite.EveryVerb &^ rewrite.SetOf(rewrite.VerbQUIT, rewrite.VerbBDAT), Command: func(t *rewrite.Turn) {
					if !t.Introduced() && *t.State().(*bool) {
						t.Answer(rewrite.Reply{Code: 503, Lines: []string{"5.5.1 the server has refused this session; say QUIT"}})
					}
				},
			}, nil
		},
	}
}
