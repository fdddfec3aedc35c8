package rewrite

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
)

// The longest lines that a rule may make, in octets without CRLF: the default limits
// of what a client may send.
const (
	maxCommand   = 4096 - 2
	maxSASL      = 12288 - 2 // RFC 4954, 4
	maxReplyText = 4096
)

// contained calls a function of a rule. If the function panics, contained returns the
// panic and its stack, otherwise "". The rule loses only this line.
func contained[T any](f func(T), argument T) (why string) {
	defer func() {
		if r := recover(); r != nil {
			why = panicText(r)
		}
	}()
	f(argument)
	return ""
}

// panicPrefix begins the text of a panic.
const panicPrefix = "panic: "

func panicText(r any) string { return fmt.Sprintf(panicPrefix+"%v\n%s", r, debug.Stack()) }

// broke reports a rule whose result was not allowed and was dropped.
func (d *Dialogue) broke(rule int, why string) {
	d.listener.Broke(d.policy.Rules.rules[rule].name, why)
}

// runCommand runs the rules on the client's command, first to last, until one
// answers it.
func (t *Turn) runCommand() {
	rules := t.d.policy.Rules
	if rules == nil {
		return
	}
	steps := rules.stages.command[t.verb]
	for s := range steps {
		step := &steps[s]
		i := int(step.rule)
		if step.owed && !t.d.seen.helloOwed || !t.d.acts(i) {
			continue
		}
		if t.runOne(i, step.run, t.commandFault) && t.answered.Code != 0 {
			return
		}
	}
}

// runSASL runs the rules on a line of an AUTH exchange, first to last, until one
// answers or swallows it.
func (t *Turn) runSASL() {
	rules := t.d.policy.Rules.active()
	for i := range rules {
		r := &rules[i]
		if r.SASL == nil || !t.d.acts(i) {
			continue
		}
		if t.runOne(i, r.SASL, t.saslFault) && (t.answered.Code != 0 || t.swallow) {
			return
		}
	}
}

// runOne runs a rule that may change the line, answer it, or send other lines first.
// It credits the rule, or undoes what it did if fault returns a reason.
func (t *Turn) runOne(i int, f func(*Turn), fault func(before []byte) string) (ok bool) {
	line, firsts, held, asData, recallBy, within := t.line, len(t.firsts), t.held, t.asData, t.recallBy, t.within
	t.rule = i
	why := contained(f, t)
	if why == "" && sameOctets(t.line, line) && len(t.firsts) == firsts && t.held == held && t.asData == asData &&
		t.recallBy == recallBy && t.answered.Code == 0 && !t.swallow && !t.repeats {
		return true // it has done nothing
	}
	if why == "" {
		why = fault(line)
	}
	if why == "" && t.repeats {
		why = "it sends a line again before there is a reply"
	}
	if why != "" {
		t.line, t.firsts, t.held, t.asData, t.recallBy, t.within = line, t.firsts[:firsts], held, asData, recallBy, within
		t.answered, t.swallow, t.repeats = Reply{}, false, false
		t.d.broke(i, why)
		return false
	}
	if t.answered.Code != 0 {
		t.replyBy.add(i)
	}
	if changed := !bytes.Equal(t.line, line); changed || t.asData != asData || t.answered.Code != 0 || t.swallow {
		t.lineBy.add(i)
		t.applied.add(i)
	}
	if len(t.firsts) > firsts {
		t.applied.add(i)
	}
	return true
}

// sameOctets reports whether a and b are the same octets in memory.
func sameOctets(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// commandFault says why the result of a rule for a command is not allowed; "" if it is.
func (t *Turn) commandFault(before []byte) string {
	v := ParseVerb(t.line)
	limit := maxCommand
	if sasl.Has(v) {
		limit = maxSASL
	}
	switch why := lineFault(t.line, before, limit); {
	case why != "":
		return why
	case !sameKind(v, ParseVerb(before)):
		return fmt.Sprintf("it made %v of %v", v, ParseVerb(before))
	case v != t.verb && t.d.forbidden(v):
		return fmt.Sprintf("it made %v of %v, which the client may not send now", v, t.verb)
	case t.asData && t.verb != VerbBDAT:
		return "only BDAT can go on as DATA"
	case t.verb == VerbBDAT && (len(t.firsts) > 0 || string(t.line) != string(before)):
		return "BDAT passes as it is, as DATA, or is answered: octets follow it"
	case !t.recallBy.empty() && !hello.Has(t.verb):
		return fmt.Sprintf("it has the answer to %v recalled, which is no hello", t.verb)
	case t.swallow && len(bytes.Trim(t.said, blanks)) > 0:
		return "only a blank line and a SASL line can be swallowed"
	case len(t.firsts) > maxFirst:
		return fmt.Sprintf("it sends more than %d commands first", maxFirst)
	}
	for _, f := range t.firsts {
		if why := lineFault([]byte(f.line), nil, maxCommand); why != "" {
			return why
		}
		if v := ParseVerb([]byte(f.line)); (uncarried | unsaid | sasl).Has(v) || t.d.forbidden(v) {
			return fmt.Sprintf("it sends %v first", v)
		}
	}
	if why := t.loginFault(t.line, before); why != "" {
		return why
	}
	return t.answerFault()
}

// forbidden reports whether a command may not be said for the client now.
func (d *Dialogue) forbidden(v Verb) bool { return d.ownMatter(v, true) || d.saysHello(v) }

// answerFault says why a rule may not answer a command so; "" if it may. What the
// server has to do, or to forget, only the server says yes to.
func (t *Turn) answerFault() string {
	seen, code := &t.d.seen, t.answered.Code
	good := code > 0 && code < 300
	switch {
	case code/100 == 3 && !(code == 334 && sasl.Has(t.verb)):
		return fmt.Sprintf("it answered %v with %d", t.verb, code)
	case good && t.verb != VerbQUIT && (unsaid.Has(t.verb) || actedOn.Has(t.verb)):
		return fmt.Sprintf("it answered %v with a positive reply", t.verb)
	case good && hello.Has(t.verb) && (seen.hello == VerbOther || seen.helloOwed || seen.anew):
		return fmt.Sprintf("it answered %v with a positive reply, and the server has accepted none", t.verb)
	case good && seen.transaction && (hello.Has(t.verb) || t.verb == VerbRSET) && !t.saysFirst(SetOf(VerbRSET)):
		return fmt.Sprintf("it answered %v with a positive reply, and the server goes on with the transaction", t.verb)
	}
	return replyFault(t.answered, Reply{})
}

// saysFirst reports whether rules have said first one of these verbs.
func (t *Turn) saysFirst(vs VerbSet) bool {
	return slices.ContainsFunc(t.firsts, func(f first) bool { return vs.Has(ParseVerb([]byte(f.line))) })
}

// actedOn is the set of verbs to which no rule may answer yes, because the server acts on
// them.
var actedOn = SetOf(VerbMAIL, VerbRCPT, VerbMessage)

// sameKind reports whether the reply to one verb may be taken for the reply to the other.
func sameKind(v, w Verb) bool {
	own := uncarried | unsaid | hello | sasl | SetOf(VerbMAIL, VerbRCPT)
	return v == w || hello.Has(v) && hello.Has(w) || sasl.Has(v) && sasl.Has(w) || !own.Has(v) && !own.Has(w)
}

// loginFault says why a rule may not make an AUTH command of a line; "" if it may.
func (t *Turn) loginFault(line, before []byte) string {
	if bytes.Equal(line, before) || !sasl.Has(ParseVerb(line)) {
		return ""
	}
	if _, text := t.d.refusesLogin(line); text != "" {
		return fmt.Sprintf("it names the mechanism %s, which the client may not use here", mechanismNamed(line))
	}
	return ""
}

// unsaid is the verbs that no rule may send of its own: they carry a payload, end the
// session, or begin TLS.
var unsaid = SetOf(VerbDATA, VerbBDAT, VerbQUIT, VerbSTARTTLS, VerbAnonymousTLS)

// saslFault says why the result of a rule for a SASL line is not allowed; "" if it is.
func (t *Turn) saslFault(before []byte) string {
	if why := lineFault(t.line, before, maxSASL); why != "" {
		return why
	}
	switch code := t.answered.Code; {
	case code/100 == 3 && code != 334:
		return fmt.Sprintf("it answered a SASL line with %d", code)
	case len(t.firsts) > 0 || t.asData:
		return "no command can be sent first within an AUTH exchange"
	}
	if !t.pending {
		if why := t.loginFault(t.line, before); why != "" {
			return why
		}
	}
	return replyFault(t.answered, Reply{})
}

// lineFault says why a line may not be sent; "" if it may. An unchanged line may.
func lineFault(line, before []byte, limit int) string {
	switch {
	case !isLine(line):
		return fmt.Sprintf("%q has a CR, LF or NUL in it", cutShort(line))
	case len(line) == 0 && len(before) > 0:
		return "it left nothing of the line"
	case len(line) > limit && len(line) > len(before):
		return fmt.Sprintf("a line of %d octets, which may have %d", len(line), limit)
	}
	return ""
}

func cutShort(b []byte) []byte { return b[:min(len(b), 20)] }

// runReply runs the rules on the server's reply, last to first, until one sends
// another line instead of passing the reply on.
func (t *Turn) runReply() {
	rules := t.d.policy.Rules
	if rules == nil {
		return
	}
	steps := rules.stages.reply[t.verb]
	for s := len(steps) - 1; s >= 0; s-- {
		step := &steps[s]
		i := int(step.rule)
		if !t.d.acts(i) || !step.sees.has(&t.reply) {
			continue
		}
		before := t.copyOf(&t.reply)
		t.rule = i
		line, held, within := t.line, t.held, t.within
		why := contained(step.run, t)
		if why == "" && (!bytes.Equal(t.line, line) || t.held != held || t.within != within || t.asksOnce()) {
			why = "it changed or answered the command, to which the reply is there"
		}
		if why == "" && !t.repeats && t.reply.equal(before) {
			continue
		}
		if why == "" {
			why = t.replyFault(before)
		}
		t.line, t.held, t.within = line, held, within
		if why != "" {
			t.repeats, t.reply = false, before.clone()
			t.forget()
			t.d.broke(i, why)
			continue
		}
		t.applied.add(i)
		if t.repeats {
			t.againBy = ruleSet{}
			t.againBy.add(i)
			return
		}
		t.replyBy.add(i)
		t.causes.changed(t.d.tracer != nil, before, t.reply, rules.rules[i].name)
	}
}

// copyOf returns a copy of r, which is valid until the next call or until the client has
// its reply. It is for a reply that a rule is about to see. t may be nil.
func (t *Turn) copyOf(r *Reply) Reply {
	if t == nil {
		return r.clone()
	}
	t.scratch = append(t.scratch[:0], r.Lines...)
	return Reply{r.Code, t.scratch}
}

// asksOnce reports whether a rule called a method that only Command and SASL may call.
func (t *Turn) asksOnce() bool {
	return t.answered.Code != 0 || len(t.firsts) > 0 || t.swallow || t.asData
}

// forget undoes the calls that asksOnce reports.
func (t *Turn) forget() {
	t.answered, t.firsts, t.swallow, t.asData = Reply{}, t.firsts[:0], false, false
}

// replyFault says why the result of a rule for a reply is not allowed, be it the new
// reply or a line to send instead; "" if it is.
func (t *Turn) replyFault(before Reply) string {
	if !t.repeats {
		if actedOn.Has(t.verb) && before.Code/100 == 2 && t.reply.Code >= 300 {
			return fmt.Sprintf("it made %d of a positive reply to %v", t.reply.Code, t.verb) // the client would send again what the server has
		}
		if startsTLS.Has(t.verb) && (t.reply.Code == 220) != (before.Code == 220) {
			return fmt.Sprintf("it made %d of %d, and client and server do not agree whether TLS begins", t.reply.Code, before.Code)
		}
		return replyFault(t.reply, before)
	}
	challenge := before.Code == 334
	switch v := ParseVerb([]byte(t.again)); {
	case !t.held:
		return "a command that is not held cannot be sent again"
	case t.lost && !t.afresh:
		return "the server has hung up, and nothing can be sent except on a fresh connection"
	case !challenge && !t.MayRepeat():
		return fmt.Sprintf("%v may not be sent again here", t.verb)
	case !challenge && !t.mayRepeatAfresh() && t.afresh:
		return fmt.Sprintf("%v may not be sent on another connection", t.verb)
	case !challenge && !t.mayRepeatAfresh() && (t.again == string(t.line) || v != t.verb):
		return fmt.Sprintf("%v was refused, and may be sent again in another form only", t.verb)
	case challenge && t.afresh:
		return "a challenge is answered on its own connection"
	case !challenge && !sameKind(v, t.verb):
		return fmt.Sprintf("it sends %v in place of %v", v, t.verb)
	}
	if !challenge {
		if why := t.loginFault([]byte(t.again), nil); why != "" {
			return why
		}
	}
	return lineFault([]byte(t.again), nil, maxSASL)
}

// replyFault says why r may not replace before, whose code is 0 if there was no reply;
// "" if it may. A refusal stays a refusal (promise 3). A 3xx keeps its code, or client
// and server would not agree on whose turn it is.
func replyFault(r, before Reply) string {
	switch {
	case r.Code == 0 && before.Code == 0:
		return ""
	case r.Code < 200 || r.Code > 599:
		return fmt.Sprintf("%d is not a reply code", r.Code)
	case len(r.Lines) == 0:
		return "a reply without a line"
	case before.Code >= 400 && r.Code < 400, before.Code != 0 && (r.Code/100 == 3 || before.Code/100 == 3) && r.Code != before.Code:
		return fmt.Sprintf("it made %d of %d", r.Code, before.Code)
	}
	for _, text := range r.Lines {
		if (len(text) > maxReplyText || strings.ContainsAny(text, "\r\n\x00")) && !slices.Contains(before.Lines, text) {
			return fmt.Sprintf("a line of a reply, %d octets long, that is too long or has a CR, LF or NUL in it", len(text))
		}
	}
	return ""
}

// runOffer runs the rules' Offer functions on the server's EHLO reply, last to first.
// A change is counted only if the client gets the reply.
func (d *Dialogue) runOffer(r *Reply, c *causes) (by ruleSet) {
	if d.policy.Rules == nil || !d.policy.Rules.offers {
		return by
	}
	for _, step := range slices.Backward(d.policy.Rules.stages.offer) {
		i := int(step.rule)
		if !d.acts(i) {
			continue
		}
		before := d.turn.copyOf(r)
		why := contained(func(e Extensions) { step.run(Session{d, i}, e) }, Extensions{reply: r})
		if why == "" && r.equal(before) {
			continue
		}
		if why == "" {
			why = replyFault(*r, before)
		}
		if why != "" {
			*r = before.clone()
			d.broke(i, why)
			continue
		}
		by.add(i)
		c.changed(d.tracer != nil, before, *r, d.policy.Rules.rules[i].name)
	}
	return by
}

// runLine runs the rules on a malformed line, first to last, until one returns a line.
// It returns that line and the rule; nil if no rule returns one.
func (d *Dialogue) runLine(octets []byte) (line []byte, by ruleSet) {
	if d.policy.Rules == nil || !d.policy.Rules.lines {
		return nil, by
	}
	for i := range d.policy.Rules.rules {
		rule := &d.policy.Rules.rules[i]
		if rule.Line == nil || !d.acts(i) {
			continue
		}
		why := contained(func(s Session) { line = rule.Line(s, octets) }, Session{d, i})
		switch {
		case why != "" || line == nil:
		case !isLine(line):
			why = fmt.Sprintf("%q has a CR, LF or NUL in it", cutShort(line))
		case len(line) > len(octets):
			why = fmt.Sprintf("it made a line of %d octets of %d", len(line), len(octets))
		default:
			by.add(i)
			return line, by
		}
		if why != "" {
			d.broke(i, why)
		}
	}
	return nil, by
}
