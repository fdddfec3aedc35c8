package rewrite

// turnReply is a reply to something that a held turn has said.
func (d *Dialogue) turnReply(code int, raw []byte) {
	t := &d.turn
	good := code < 300
	switch t.stage {
	case stageFirst:
		d.swallow(raw)
		if good && commandIs([]byte(t.first), VerbEHLO) {
			d.learn(parseReply(raw))
		}
		d.seen.helloOwed = false
		d.sayLine()
	case stageHello:
		d.swallow(raw)
		d.helloReply(good, raw)
	case stageStartTLS:
		d.swallow(raw)
		if code == 220 {
			t.stage, d.next = stageTLS, AwaitServerTLS
			return
		}
		d.tlsFailed = true
		d.withoutTLS("the server refused STARTTLS")
	case stageRepeat:
		d.swallow(raw)
		if good {
			d.learn(parseReply(raw))
		}
		d.goOn()
	case stageXCLIENT:
		d.xclientReply(code, raw)
	case stageData:
		d.dataReply(code, raw)
	default:
		d.saidReply(good, raw)
	}
}

// helloReply goes on after our own EHLO before TLS.
func (d *Dialogue) helloReply(good bool, raw []byte) {
	if good && commandIs(d.hello, VerbEHLO) {
		d.learn(parseReply(raw))
	}
	switch {
	case good && d.wantsTLS() && d.server.offers&OffersSTARTTLS != 0:
		d.say("STARTTLS", stageStartTLS)
	case d.wantsTLS():
		d.withoutTLS(noSTARTTLS)
	default:
		d.goOn()
	}
}

// goOn says what our own hello was for.
func (d *Dialogue) goOn() {
	if d.xclientComes() {
		d.introduce()
		return
	}
	d.sayLine()
}

const noSTARTTLS = "the server offers no STARTTLS"

// withoutTLS goes on in clear where TLS is not to be had, or refuses.
func (d *Dialogue) withoutTLS(reason string) {
	t := &d.turn
	if d.policy.ServerTLS == ServerTLSRequire {
		d.refuse("tls", noTLSText, reason)
		d.answer(t.verb, noTLSText)
		return
	}
	d.server.plain = true
	raw := t.withheld
	t.withheld = nil
	switch {
	case d.xclientComes():
		d.introduce()
	case raw != nil:
		d.finishTurn(raw, parseReply(raw))
	default:
		d.sayLine()
	}
}

// ServerTLS is the end of a good handshake with the server. What was known from
// before it is forgotten (RFC 3207, 4.2): a hello is said again.
func (d *Dialogue) ServerTLS() {
	t := &d.turn
	d.event("server TLS")
	d.server.tls, d.server.offers = true, 0
	t.withheld = nil
	d.helloAgain()
}

// helloAgain says hello to a server that has forgotten it.
func (d *Dialogue) helloAgain() {
	if hello.has(d.turn.verb) {
		d.sayLine()
		return
	}
	d.say(string(d.hello), stageRepeat)
}

// ServerTLSFailed says that a handshake with the server went wrong, and that
// its connection is closed. Opportunistic TLS goes on without, on a fresh one.
func (d *Dialogue) ServerTLSFailed() {
	t := &d.turn
	if d.policy.ServerTLS != ServerTLSOpportunistic {
		d.refuse("tls", noTLSText, "TLS with the server failed")
		d.answer(t.verb, noTLSText)
		return
	}
	d.server.plain, d.tlsFailed = true, true
	t.withheld = nil
	d.connectAgain()
}

func (d *Dialogue) connectAgain() {
	d.sent.n = 0
	d.turn.stage = stageFresh
	d.server.gone = true
	d.next = AwaitServer
}

// saidReply is the reply to the line of a turn.
func (d *Dialogue) saidReply(good bool, raw []byte) {
	t := &d.turn
	r := parseReply(raw)
	if good && commandIs(t.line, VerbEHLO) {
		d.learn(r)
		if d.wantsTLS() && d.server.offers&OffersSTARTTLS != 0 {
			d.swallow(raw)
			t.withheld = append([]byte(nil), raw...)
			d.say("STARTTLS", stageStartTLS)
			return
		}
	}
	if commandIs(t.line, VerbHELO) && good {
		d.server.offers = 0 // a server that has heard HELO may not know BDAT any more
	}
	if hello.has(t.verb) && good && d.wantsTLS() {
		if d.policy.ServerTLS == ServerTLSRequire {
			d.swallow(raw)
			d.withoutTLS(noSTARTTLS)
			return
		}
		d.server.plain = true
	}
	if hello.has(t.verb) && good && d.xclientComes() {
		d.swallow(raw)
		d.introduce()
		return
	}
	d.finishTurn(raw, r)
}

// finishTurn gives the client what the rules make of the reply, unless one of
// them wants something said again.
func (d *Dialogue) finishTurn(raw []byte, r Reply) {
	t := &d.turn
	t.raw, t.reply = raw, r
	before := t.reply.clone()
	by := ruleSet(0)
	if commandIs(t.line, VerbEHLO) && t.reply.Code < 300 {
		by = d.unalias(&t.reply) | d.carry(&t.reply)
		t.applied |= by
		d.limitSize(&t.reply)
	}
	if d.policy.Rules.seesReply(t.verb, t.reply.Code) {
		t.runReply()
	}
	if t.again != "" {
		t.pending = t.reply.Code == 334
		t.commands++
		d.swallow(raw)
		d.sayAgain()
		return
	}
	if hello.has(t.verb) && t.reply.Code < 300 {
		d.offerTLS(&t.reply)
		d.offerXCLIENT(&t.reply)
	}
	t.held = false
	t.replyBy |= by
	d.departed(t.applied)
	if t.reply.equal(before) {
		d.give(t.verb, raw, Reply{})
	} else {
		d.give(t.verb, raw, t.reply)
	}
	t.applied = 0
	t.held = d.next == AwaitSASL
}

// sayAgain says what a rule wants said in place of the turn's line.
func (d *Dialogue) sayAgain() {
	t := &d.turn
	if t.afresh {
		t.fresh++
	}
	if t.commands > maxAgain || t.fresh > maxFresh {
		d.breach()
		return
	}
	t.line, t.again = []byte(t.again), ""
	if t.verb == VerbEHLO && commandIs(t.line, VerbHELO) {
		d.server.plain = d.server.plain || d.policy.ServerTLS == ServerTLSOpportunistic
		d.server.offers = 0
	}
	if t.afresh {
		d.connectAgain()
		return
	}
	d.say(string(t.line), stageSaid)
}

// unalias gives keywords their right names, and says on whose account.
func (d *Dialogue) unalias(r *Reply) (by ruleSet) {
	if at, place := d.aliased(*r); at > 0 {
		r.Lines[at] = d.policy.Rules.alias[1]
		by.add(place)
	}
	return by
}

// aliased finds the line of an EHLO reply whose keyword stands for another that
// is not there, and the rule that knows; at is 0 if there is none.
func (d *Dialogue) aliased(r Reply) (at, place int) {
	if d.policy.Rules == nil || d.policy.Rules.alias[0] == "" {
		return 0, 0
	}
	for i, line := range r.Lines[1:] {
		switch name, _ := keyword(line); name {
		case d.policy.Rules.alias[0]:
			at = i + 1
		case d.policy.Rules.alias[1]:
			return 0, 0
		}
	}
	return at, d.policy.Rules.aliasRule
}

// carry takes out of an EHLO reply what we cannot carry, and STARTTLS where it
// is not between client and server. It says whose account CHUNKING is on, if it
// is put in.
func (d *Dialogue) carry(r *Reply) (by ruleSet) {
	r.dropKeywords(func(name string) bool {
		switch v := verbOf[name]; v {
		case VerbSTARTTLS:
			return !d.passesTLS() && !(d.endsTLS() && !d.seen.tls)
		case VerbAnonymousTLS:
			return !d.passesTLS()
		default:
			return uncarried.has(v) || !d.policy.Chunking && (name == "CHUNKING" || name == "BINARYMIME")
		}
	})
	if place, ok := d.chunkRule(); ok && d.server.offers&OffersCHUNKING == 0 {
		r.addKeywords("CHUNKING")
		by.add(place)
	}
	return by
}

// offerTLS adds STARTTLS where we end it, unless the server has said it.
func (d *Dialogue) offerTLS(r *Reply) {
	if !d.endsTLS() || d.seen.tls || d.turn.verb != VerbEHLO {
		return
	}
	for _, line := range r.Lines[1:] {
		if name, _ := keyword(line); name == "STARTTLS" {
			return
		}
	}
	r.addKeywords("STARTTLS")
}
