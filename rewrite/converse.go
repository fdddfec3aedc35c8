package rewrite

import (
	"bytes"

	"smtpshim/rewrite/vocabulary"
)

// converse runs a held turn from beginning to end: the commands that rules send first,
// the client's line, the lines that rules send in place of passing on the reply, the AUTH
// exchange, and the reply to the client. When converse returns, the turn is no longer
// held.
func (t *Turn) converse() {
	defer func() { t.held = false }()
	d := t.d
	if d.spent && !t.redial() || t.helloless && t.answered.Code == 0 && !t.sayOwnHello() {
		return
	}
	for _, f := range t.firsts {
		if !t.sayFirst(f) {
			return
		}
	}
	t.firsts = t.firsts[:0]
	if t.answered.Code == 0 && d.logsIn(t.verb) && !t.useLogin() {
		return
	}
	if t.asData {
		t.sayDATA()
		return
	}
	var raw []byte
	ok := t.answered.Code != 0
	if !ok {
		raw, ok = t.sayLine()
	}
	for ok {
		if t.answered.Code != 0 {
			t.giveAnswer()
		} else {
			for ok && !t.finish(raw) {
				raw, ok = t.sayAgain(raw)
			}
		}
		if !ok || d.next != AwaitSASL {
			break
		}
		raw, ok = t.saySASL()
	}
}

// sayLine sends the client's line, as the rules have left it.
func (t *Turn) sayLine() (raw []byte, ok bool) {
	if hello.Has(t.verb) {
		return t.sayHello(string(t.line))
	}
	return t.exchange(string(t.line))
}

// sayFirst sends a command that a rule sends before the client's line.
func (t *Turn) sayFirst(f first) (ok bool) {
	d, by := t.d, t.d.policy.Rules.rules[f.by].name
	v := ParseVerb([]byte(f.line))
	if hello.Has(v) {
		return t.sayFirstHello(v, f.line, by)
	}
	e := t.say(f.line, by)
	if e.kind == lost {
		d.end(vocabulary.OutcomeServerLost, lostText)
		return false
	}
	d.swallow(e.raw, by)
	return true
}

// sayFirstHello is sayFirst for a hello.
func (t *Turn) sayFirstHello(v Verb, line, by string) (ok bool) {
	d := t.d
	became := t.recallUnasked(line)
	for became == answered || became == reconnects {
		if became == reconnects && (d.wantsTLS() || d.wantsXCLIENT()) { // as on every fresh connection
			raw, ok := t.sayHello(line)
			if ok {
				d.swallow(raw, by)
			}
			d.seen.helloOwed = false
			return ok
		}
		e := t.say(line, by)
		if became = t.tooMany(line, &e); became == reconnects {
			continue
		}
		if e.kind == lost && became == answered {
			d.end(vocabulary.OutcomeServerLost, lostText)
			return false
		}
		if became == answered {
			if e.code < 300 {
				t.accepted(v, e.raw)
			}
			d.swallow(e.raw, by)
			break
		}
	}
	d.seen.helloOwed = false
	return became != over
}

// sayHello sends EHLO or HELO, and then the STARTTLS with its handshake, and the XCLIENT,
// that the policy requires. The server forgets the hello at each of these, so sayHello
// sends it again. The reply to HELO does not show whether the server offers STARTTLS or
// XCLIENT, so if either is required, sayHello sends EHLO before HELO. raw is the reply to
// line.
func (t *Turn) sayHello(line string) (raw []byte, ok bool) {
	d, ours := t.d, !hello.Has(t.verb)
	for {
		asked := line
		t.recalled = ""
		if commandIs([]byte(line), VerbHELO) && t.verb != VerbEHLO && (d.wantsTLS() || d.wantsXCLIENT()) {
			asked = "EHLO " + string(Argument([]byte(line)))
			t.introduced = !d.wantsTLS()
		}
		var e event
		became := t.recallUnasked(asked)
		if became == answered {
			e = t.sayOne(asked, line, ours)
			became = t.tooMany(asked, &e)
		}
		switch {
		case became == over:
			return nil, false
		case became == reconnects:
			continue
		case became == recalled:
			t.recall(ParseVerb([]byte(asked)), &e)
		case e.kind == lost && !ours && asked == line:
			return t.wasLost()
		}
		if e.kind == lost && t.helloless && d.policy.ServerTLS == ServerTLSOpportunistic && !d.server.plain && !d.wantsXCLIENT() {
			d.server.plain = true
			return nil, t.reconnect()
		}
		if e.kind == lost && !(t.verb == VerbHELO && d.wantsTLS()) {
			d.end(vocabulary.OutcomeServerLost, lostText)
			return nil, false
		}
		if ours {
			line = asked
		}
		after := t.afterHello(asked, &e, ours || asked != line)
		switch {
		case after == ended:
			return nil, false
		case after == settled && asked == line:
			return e.raw, true
		case after == settled && !e.swallowed:
			d.swallow(e.raw, t.ownCause())
		}
	}
}

// afterHello does what must follow the reply to a hello: STARTTLS, or XCLIENT. ours
// reports whether the hello was not the client's own; a refusal of it is then not passed
// on.
func (t *Turn) afterHello(asked string, e *event, ours bool) aftermath {
	d, good := t.d, e.kind == replied && e.code < 300
	switch {
	case good && !e.recalled:
		t.accepted(ParseVerb([]byte(asked)), e.raw)
	case e.kind == lost:
		return t.ehloLost()
	}
	if !good && !ours {
		return settled
	}
	if d.wantsTLS() {
		offered := good && d.server.known&offersSTARTTLS != 0
		if (offered || d.policy.ServerTLS == ServerTLSRequire) && !e.swallowed {
			d.swallow(e.raw, t.causeOf(serverTLSCause))
			e.raw, e.swallowed = bytes.Clone(e.raw), true
		}
		after := settled
		if offered {
			after = t.startTLS()
		} else {
			after = t.inClear("the server offers no STARTTLS")
		}
		if after != settled {
			return after
		}
	}
	if !d.xclientComes() {
		return settled
	}
	t.introduced = true
	if !e.swallowed {
		d.swallow(e.raw, t.causeOf(xclientCause))
	}
	return t.sayXCLIENT()
}

// sayAgain sends the line that a rule has chosen in place of passing on the reply. It
// does so on a fresh connection if the rule asks for that.
func (t *Turn) sayAgain(raw []byte) (reply []byte, ok bool) {
	d := t.d
	t.commands++
	if raw != nil {
		t.refuses(raw)
		d.swallow(raw, t.lineCause())
	}
	if t.afresh {
		t.fresh++
	}
	if t.commands > maxAgain || t.fresh > maxFresh {
		d.breach()
		return nil, false
	}
	line, isHello := t.again, hello.Has(t.verb)
	t.line, t.repeats = []byte(line), false
	if t.verb == VerbEHLO && commandIs(t.line, VerbHELO) {
		d.server.plain = d.server.plain || d.policy.ServerTLS == ServerTLSOpportunistic
		d.server.forget()
	}
	if t.afresh && !t.reconnect() {
		return nil, false
	}
	if isHello {
		return t.sayHello(line)
	}
	if t.afresh && d.hello != "" {
		if raw, ok = t.sayHello(d.hello); !ok {
			return nil, false
		}
		d.swallow(raw, t.ownCause())
	}
	if d.logsIn(t.verb) && !t.admitMail() { // the rule may have put the client's sender back
		return nil, false
	}
	return t.exchange(string(t.line))
}
