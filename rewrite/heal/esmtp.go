package heal

import (
	"slices"
	"strings"

	"smtpshim/rewrite"
)

func advertiseESMTP() rewrite.Rule {
	return rewrite.Rule{
		Name:  "advertise-esmtp",
		Heals: "Exchange 5.0, which speaks ESMTP and does not say so in its greeting",
		Doc: "Clients that look for the word ESMTP in the greeting and do not find it use HELO, and have no SIZE, AUTH, DSN or STARTTLS. " +
			"The rule adds the word to a 220 greeting, after the host name, or in a line of its own as Microsoft's fix does. It does so " +
			"if the greeting is Exchange 5.0's, if a firewall has overwritten it, or if this server has accepted EHLO within a day. If " +
			"the server refuses EHLO after all, with any text, or does not answer it in 15 seconds, the rule sends HELO instead, and " +
			"does not add the word again for a day.",
		Symptoms: []string{"220 ****************"},
		Source:   "KB Q164060; KB Q194131; RFC 1869, 4.1.1; github.com/pear/Net_SMTP/issues/5",
		Entries:  []string{"L02", "L06"},
		Options: []rewrite.Option{
			{Name: "style", Default: "word", Values: []string{"word", "line"},
				Doc: "\"word\": 220 host ESMTP rest; \"line\": 220-host rest, 220 ESMTP spoken here"},
			{Name: "when", Default: "known", Values: []string{"known", "always"},
				Doc: "\"known\": if something shows that the server knows EHLO; \"always\": before every server"},
		},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			a := advertiser{word: advertiseWord, always: o.Text("when") == "always"}
			if o.Text("style") == "line" {
				a.word = advertiseLine
			}
			return rewrite.Actions{
				State:   func() any { return new(esmtpState) },
				Command: waitForEHLO, Commands: rewrite.SetOf(rewrite.VerbEHLO),
				Reply: a.hear, Replies: rewrite.SetOf(rewrite.VerbGreeting, rewrite.VerbEHLO),
			}, nil
		},
	}
}

// An advertiser adds the word ESMTP to greetings.
type advertiser struct {
	word   func(*rewrite.Turn)
	always bool
}

// An esmtpState is what a session knows about EHLO at its server.
type esmtpState struct {
	unsaid   bool // the server's greeting does not have the word
	promised bool // the client's greeting has the word
	refused  bool // EHLO was refused, and the HELO in its place awaits a reply
	refusal  ehloRefusal
}

// rejectsEHLO is the key under which a server is remembered, for a day, that has refused
// EHLO after we added the word. The engine remembers servers that accept EHLO.
const rejectsEHLO = "rejects EHLO"

// ehloPatience is the time, in milliseconds, that a server has to answer an EHLO that we
// have caused. Impatient clients leave after 30 seconds.
const ehloPatience = 15_000

func waitForEHLO(t *rewrite.Turn) {
	state := t.State().(*esmtpState)
	state.refused, state.refusal = false, ehloRefusal{}
	if state.promised && !t.Introduced() && !t.SpeaksESMTP() {
		t.Within(ehloPatience)
	}
}

func (a advertiser) hear(t *rewrite.Turn) {
	state := t.State().(*esmtpState)
	switch isEHLO := rewrite.ParseVerb(t.Line()) == rewrite.VerbEHLO; {
	case t.Verb() == rewrite.VerbGreeting:
		a.greet(t, state)
	case !state.unsaid:
	case !t.Lost() && isEHLO && t.Reply().Code == 250:
	case state.promised && isEHLO && !t.Introduced():
		keepPromise(t, state)
	case !t.Lost() && !isEHLO && t.Reply().Code == 250 && state.refused:
		t.Remember(rejectsEHLO, dayLong)
		t.Reply().Lines = t.Reply().Lines[:1] // a client would take further lines for keywords
	case !t.Lost() && !isEHLO:
		state.refusal.give(t)
	}
}

// greet adds the word if there is evidence that the server knows EHLO.
func (a advertiser) greet(t *rewrite.Turn, state *esmtpState) {
	if t.Lost() || t.Reply().Code != 220 {
		return
	}
	text := strings.Join(t.Reply().Lines, " ")
	if rewrite.HasWord(text, "ESMTP") || rewrite.HasWord(text, "LMTP") {
		return
	}
	state.unsaid = true
	isExchange := strings.Contains(text, "Microsoft Exchange Internet Mail Service 5.0")
	isMasked := 2*strings.Count(text, "*") > len(text) // KB320027
	if a.always || !t.Remembers(rejectsEHLO) && (isExchange || isMasked || t.SpeaksESMTP()) {
		state.promised = true
		a.word(t)
	}
}

// keepPromise sends HELO if EHLO is refused, because without the word the client would
// have sent HELO. A lost connection alone is no refusal: EHLO is sent once more. If the
// server has accepted EHLO before, a lost connection never leads to HELO, because AUTH
// and STARTTLS need EHLO.
func keepPromise(t *rewrite.Turn, state *esmtpState) {
	closes := t.Lost() || t.Reply().Code == 421 // RFC 5321, 3.8
	switch {
	case closes && (!t.Untouched() || t.SpeaksESMTP()):
	case t.Lost() && !t.Silent() && t.Fresh() == 0:
		t.AgainAfresh(string(t.Line()))
	case closes && t.Fresh() < 2:
		t.AgainAfresh(heloFor(t))
		state.refused = true
	case !closes:
		state.refusal.keep(t)
		t.Again(heloFor(t))
		state.refused = true
	}
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
		Doc: "Sendmail 8.6, old gateways and firewalls answer EHLO with 500 or hang up. The rule sends HELO instead, on a fresh " +
			"connection if necessary, and the client gets an EHLO reply without keywords. A 501 for the name in EHLO passes. If the " +
			"server knows neither command, as one of LMTP, the client gets its reply to EHLO. If the server hangs up, the rule sends " +
			"EHLO once more before it sends HELO. It never sends HELO to a server that greets with the word ESMTP or has answered EHLO " +
			"within a day: one lost connection must not cost TLS and AUTH. If a server has hung up twice, the rule remembers this for a " +
			"day.",
		Symptoms: []string{"500 Command unrecognized", "500 Syntax error, command \"XXXX\" unrecognized", "550 Huh?",
			"while performing the EHLO handshake", "Remote host closed connection in response to EHLO"},
		Source:  "KB Q245787; KB Q100352; KB Q197142; RFC 5321, 3.2 and 4.1.4; KB320027",
		Entries: []string{"L07", "L20", "L21"},
		Options: []rewrite.Option{
			{Name: "remembered", Default: "ehlo", Values: []string{"ehlo", "helo"},
				Doc: "what the rule sends first to a server that has hung up on EHLO twice within a day; \"ehlo\": EHLO, in case the server has changed; " +
					"\"helo\": HELO at once, which saves a connection for each session, and costs TLS and AUTH if something else cut those connections"},
		},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			a := rewrite.Actions{
				State:   func() any { return new(ehloRefusal) },
				Replies: rewrite.SetOf(rewrite.VerbEHLO), Reply: helloInstead,
			}
			if o.Text("remembered") == "helo" {
				a.Commands, a.Command = rewrite.SetOf(rewrite.VerbEHLO), func(t *rewrite.Turn) {
					if !t.Introduced() && !t.SpeaksESMTP() && t.Remembers(hangsUp) {
						t.SetLine(heloFor(t))
					}
				}
			}
			return a, nil
		},
	}
}

// An ehloRefusal is the server's refusal of EHLO, kept while HELO is sent in its place.
type ehloRefusal struct{ rewrite.Reply }

func (e *ehloRefusal) keep(t *rewrite.Turn) {
	e.Reply = rewrite.Reply{Code: t.Reply().Code, Lines: slices.Clone(t.Reply().Lines)}
}

// give replaces a reply that the server does not know HELO either by the refusal of EHLO,
// because the client has not sent HELO.
func (e *ehloRefusal) give(t *rewrite.Turn) {
	if r := t.Reply(); e.Code != 0 && (r.Code == 500 || r.Code == 502) {
		*r = e.Reply
	}
	e.Reply = rewrite.Reply{}
}

func helloInstead(t *rewrite.Turn) {
	r := t.Reply()
	refused := func() *ehloRefusal { return t.State().(*ehloRefusal) }
	switch isEHLO := rewrite.ParseVerb(t.Line()) == rewrite.VerbEHLO; {
	case t.Lost() && t.Authenticated(): // the login would be lost with the connection
	case t.Lost() && isEHLO:
		insist(t)
	case t.Lost() && t.Fresh() == 0: // some servers refuse EHLO and then hang up
		t.AgainAfresh(heloFor(t))
	case isEHLO && (refusesEHLO(r) || r.Code == 503 && !t.Introduced()): // github.com/pear/Net_SMTP/issues/5
		refused().keep(t)
		t.Again(heloFor(t))
	case !isEHLO && r.Code == 250:
		refused().Reply = rewrite.Reply{}
		r.Lines = r.Lines[:1] // a client would take further lines for keywords
	case !isEHLO && !t.Lost():
		refused().give(t)
	}
}

// hangsUp is the key under which a server is remembered, for a day, that has hung up on
// EHLO twice in a row.
const hangsUp = "hangs up on EHLO"

// insist sends EHLO once more to a server that has hung up on it. If that fails, or is
// known to fail, it sends HELO.
func insist(t *rewrite.Turn) {
	switch {
	case t.Fresh() == 0 && (t.SpeaksESMTP() || !t.Remembers(hangsUp)):
		t.AgainAfresh(string(t.Line()))
	case t.SpeaksESMTP():
	default:
		t.Remember(hangsUp, dayLong)
		t.AgainAfresh(heloFor(t))
	}
}

// heloFor returns HELO with the name in the line. If there is none, the name is the
// client's address, because HELO needs a name (RFC 5321, 4.1.1.1).
func heloFor(t *rewrite.Turn) string {
	name := string(rewrite.Argument(t.Line()))
	if name == "" {
		name = nameOf(t.Session)
	}
	return "HELO " + name
}

// refusesEHLO reports whether a refusal means that the server does not know EHLO, and not
// that it rejects the name.
func refusesEHLO(r *rewrite.Reply) bool {
	switch r.Code {
	case 500, 502, 504, 550, 554:
		return true
	case 501:
		return !blamesArgument(r)
	}
	return false
}

// blamesArgument reports whether a 501 is about the argument. The code is also used for
// unknown commands.
func blamesArgument(r *rewrite.Reply) bool {
	text := strings.ToLower(strings.Join(r.Lines, " "))
	text = strings.ReplaceAll(text, "syntax error in parameters or arguments", "") // the general meaning of 501 (RFC 821, 4.2.1)
	for _, word := range []string{"5.5.4", "address", "argument", "domain", "host", "name", "parameter", "operand"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}
