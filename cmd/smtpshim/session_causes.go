package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/proxy"
	"smtpshim/proxy/journal"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/vocabulary"
)

// A failure is what a session shows of why it failed, or why a recipient was refused.
type failure struct {
	route      string
	outcome    vocabulary.Outcome
	refused    proxy.Refusal
	while, err string
	acted      map[string]int // how often each rule acted
	would      map[string]int // how often each observed rule would have acted
}

// failureOf returns the failure of an ended session. ok is false if nothing failed.
func failureOf(e journal.Entry) (f failure, ok bool) {
	end := e.End
	f = failure{e.Route, end.Outcome, end.Refused, end.While, end.Err, end.Rules, end.Would.Counts()}
	return f, e.Ended && (end.Outcome.Failed() || end.Refused.Code != 0)
}

// mostCauses is the largest number of causes for one failure.
const mostCauses = 2

// sessionExplainer explains the texts in sessions. It is made for the first one and does
// not change.
var sessionExplainer = sync.OnceValue(newExplainer)

// causesOf returns why a session failed and what heals that on its route, the likeliest
// cause first. If the session failed, there is at least one.
func (p *instance) causesOf(f failure) []journal.Cause {
	at := p.config.Load().Route(f.route)
	var list []journal.Cause
	looked := func(rule string) bool {
		return at != nil && (slices.Contains(at.Rules.Names(), rule) || slices.Contains(at.Observed.Names(), rule) && f.would[rule] == 0)
	}
	for _, c := range f.causes(looked) {
		list = append(list, journal.Cause{Rule: c.Rule, Means: c.Means, Do: adviceHere(c, f, at), Source: c.Source, Guess: c.Guess})
	}
	return list
}

// causes returns what explain knows about the reply and the error, or else the causes
// that the end of the session shows. It omits a guess at a rule that has looked at the
// session and found nothing.
func (f failure) causes(looked func(rule string) bool) []cause {
	var causes []cause
	add := func(list ...cause) {
		for _, c := range list {
			if !slices.ContainsFunc(causes, func(o cause) bool { return o.Means == c.Means }) {
				causes = append(causes, c)
			}
		}
	}
	if r := f.refused; r.Code != 0 {
		if r.Means != "" {
			add(cause{Means: r.Means, Do: r.Do, Source: "smtpshim's table of refusals, deploy/doc/login.md"})
		}
		said := sessionExplainer().causesOf(fmt.Sprint(r.Code, " ", r.Text))
		add(slices.DeleteFunc(said, func(c cause) bool { return c.ends != "" && c.ends == f.outcome })...) // outcome and error say more
	}
	isGuess := func(c cause) bool { return c.Guess }
	if err, _, _ := strings.Cut(f.err, "we said "); err != "" { // our own words do not say why
		add(slices.DeleteFunc(sessionExplainer().causesOf(err), isGuess)...) // the error is in our words, so it has no symptoms
	}
	if slices.ContainsFunc(causes, func(c cause) bool { return !c.Guess }) {
		causes = slices.DeleteFunc(causes, isGuess)
	}
	if len(causes) == 0 && f.outcome.Failed() {
		causes = f.endings()
	}
	causes = slices.DeleteFunc(causes, func(c cause) bool { return c.Guess && looked(c.Rule) })
	if len(causes) == 0 && f.outcome.Failed() {
		causes = []cause{f.end()}
	}
	return causes[:min(len(causes), mostCauses)]
}

// An ending is a fault that ends sessions without a reply.
type ending struct {
	outcomes []vocabulary.Outcome
	while    string // the beginning of what the session was doing
	rule     string // the rule that heals it
	means    string
}

var endings = []ending{
	{[]vocabulary.Outcome{vocabulary.OutcomeServerLost}, "waiting for the reply to ehlo",
		"fall-back-to-helo", "the server hung up on EHLO, as servers do that know only HELO"},
	{[]vocabulary.Outcome{vocabulary.OutcomeServerTimeout}, "waiting for the reply to ehlo",
		"unended-replies", "the server's reply to EHLO has no last line, or never came"},
	{[]vocabulary.Outcome{vocabulary.OutcomeServerTimeout, vocabulary.OutcomeUnknown}, "waiting for the reply to end-of-data",
		"dot-with-text", "the server, or a firewall before it, has not seen the end of the message"},
	{[]vocabulary.Outcome{vocabulary.OutcomeServerLost}, "waiting for the reply to starttls",
		"hide-failed-starttls", "the server offers STARTTLS, and hung up on it"},
}

// endings returns the causes that the end of the session shows.
func (f failure) endings() []cause {
	var causes []cause
	for _, e := range endings {
		if slices.Contains(e.outcomes, f.outcome) && strings.HasPrefix(f.while, e.while) {
			c := cause{Means: e.means, Rule: e.rule, Guess: true}
			for _, r := range heal.Table() {
				if r.Name == e.rule {
					c.Source, c.Do = r.Source, useOf(r.Name)
				}
			}
			causes = append(causes, c)
		}
	}
	return causes
}

// end returns the outcome of the session as a cause, for use if nothing else is known.
func (f failure) end() cause {
	c := endOf(f.outcome)
	if f.refused.Code != 0 {
		c.Means += "; nothing is known of this refusal"
	}
	return c
}

// endOf returns what is known of every session with the outcome.
func endOf(o vocabulary.Outcome) cause {
	return cause{Means: strings.ReplaceAll(o.Means(), "`", ""), Do: outcomeAdvice[o]}
}

// outcomeAdvice is what to do about failed sessions if nothing else is known.
var outcomeAdvice = map[vocabulary.Outcome]string{
	vocabulary.OutcomeRefused: "read the reply, and in the dialogue the command that it answers; " +
		"if no rule heals it yet, [[route.replace]] may do so",
	vocabulary.OutcomeMessageRefused:    "the error says what the message has, and which key lets it through: stray_bytes, long_lines or limits.message_size",
	vocabulary.OutcomeClientLost:        "look at the last reply before the end: a client that hangs up usually cannot handle that reply; \"smtpshim rules\" lists what clients are known for",
	vocabulary.OutcomeClientTimeout:     "look at the last lines: the client has gone, or waits for something; [route.timeouts] gives it longer",
	vocabulary.OutcomeClientProtocol:    "the error names what the client sent, or the limit that it met and the key that raises it",
	vocabulary.OutcomeServerUnreachable: "check whether a server listens at this address and port, and admits smtpshim; \"smtpshim check -live\" tries each server of a route",
	vocabulary.OutcomeServerLost:        "look at the last command before the end, and at the server's log",
	vocabulary.OutcomeServerTimeout:     "look at the server's log; if the server is only slow, [route.timeouts] gives it longer",
	vocabulary.OutcomeServerProtocol:    "the error shows the octets; \"smtpshim rules\" lists what servers are known for, and a recording tells more ([route.record])",
	vocabulary.OutcomeTLS:               "the error names the side that fails, and why; weak in client_tls or server_tls allows old versions and suites (deploy/doc/tls.md, Old TLS, with a way out)",
	vocabulary.OutcomeXCLIENT:           "have the server trust smtpshim's address for XCLIENT, or do without ([route.xclient])",
	vocabulary.OutcomeUnknown:           "check in the server's log whether it has the message, before the message is sent again",
	vocabulary.OutcomeCutOff:            "the client tries again; the key drain gives sessions longer when smtpshim stops",
	vocabulary.OutcomeDefect:            "report it, with the line of the log that has the stack",
}

// adviceHere returns what to do about a cause if smtpshim is already in between. at is
// nil if the route no longer exists.
func adviceHere(c cause, f failure, at *config.Route) string {
	switch {
	case c.Rule == "" || at == nil:
		return adviceBetween(c)
	case f.acted[c.Rule] > 0:
		return fmt.Sprintf("the rule %s has acted in this session, and that was not enough: look at the dialogue", c.Rule)
	case f.would[c.Rule] > 0:
		return fmt.Sprintf("the rule %s would have acted in this session, and the route %s only observes: remove mode = \"observe\", and reload", c.Rule, at.Name)
	case slices.Contains(at.Observed.Names(), c.Rule):
		return fmt.Sprintf("the rule %s is observed on this route, and found nothing to act on: its description says what it looks for, and has its options", c.Rule)
	case slices.Contains(at.Rules.Names(), c.Rule):
		return fmt.Sprintf("the rule %s is in force on this route, and found nothing to act on: its description says what it looks for, and has its options", c.Rule)
	}
	var also []string
	if at.Unruled {
		also = append(also, "which are [\"standard\"] if the file has none")
	}
	if options := alsoOptions(c.Rule); options != "" {
		also = append(also, strings.TrimSpace(options))
	}
	if also == nil {
		return fmt.Sprintf("add %q to rules of the route %s, and reload", c.Rule, at.Name)
	}
	return fmt.Sprintf("add %q to rules of the route %s, %s, and reload", c.Rule, at.Name, strings.Join(also, ", "))
}

// adviceBetween returns what to do about a cause if smtpshim is already in between, with
// unknown rules.
func adviceBetween(c cause) string {
	if c.Rule != "" && c.Rule != heal.Safeguard && c.Do == useOf(c.Rule) {
		return fmt.Sprintf("write %q into rules of the route%s, unless it is in force there", c.Rule, alsoOptions(c.Rule))
	}
	if rest, ok := strings.CutPrefix(c.Do, "put smtpshim between: "); ok {
		if rule, _, is := strings.Cut(rest, andStandard); is {
			return rule + ": write it into rules of the route, unless it is in force there"
		}
		if rules, _, are := strings.Cut(rest, andAllStandard); are {
			return rules + ": write them into rules of the route, unless they are in force there"
		}
		return rest
	}
	if rest, ok := strings.CutPrefix(c.Do, "put smtpshim between, with "); ok {
		return "set " + rest
	}
	return c.Do
}

// Endings of advice about rules of the set standard.
const (
	andStandard    = ", and is in force if a route has no rules of its own"
	andAllStandard = ", and are in force if a route has no rules of its own"
)
