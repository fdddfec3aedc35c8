package rewrite

// follow updates the client's state by a reply that the client gets.
func (d *Dialogue) follow(v Verb, code int) {
	good := code < 300
	if code == 421 {
		if v == VerbOther { // nobody has asked: the server is about to hang up
			d.server.gone = true
			d.leave()
			return
		}
		d.parts()
	} else {
		d.goesOn()
	}
	switch {
	case v == VerbQUIT:
		d.next = End
	case v == VerbMAIL && good:
		d.seen.transaction = true
		d.recipients.reset()
		d.seen.mails++
	case v == VerbRCPT && good:
		d.recipients.accept()
		d.seen.recipients++
	case v == VerbRCPT:
		d.recipients.refuse()
		d.seen.refused++
		if code < 500 {
			d.seen.deferred++
		}
	case v == VerbDATA && code == 354:
		d.seen.messages++
		d.seen.idle = 0
		d.next = AwaitMessage
	case v == VerbDATA:
		d.seen.suspect = true
	case v == VerbMessage:
		if d.sent.n == 0 { // the last one of the message
			d.endTransaction()
		}
	case good && (v == VerbRSET || hello.Has(v)):
		d.endTransaction()
		if hello.Has(v) {
			d.seen.hello, d.seen.anew, d.seen.helloOwed = v, false, false
			d.recipients = nil
			if v == VerbLHLO {
				d.recipients = &recipients{}
			}
		}
	case (v == VerbSTARTTLS || v == VerbAnonymousTLS) && code == 220:
		d.next = Opaque
		d.event("opaque")
	case sasl.Has(v):
		d.followSASL(code)
	}
}

func (d *Dialogue) endTransaction() {
	d.seen.transaction, d.seen.recipients, d.seen.refused, d.seen.deferred = false, 0, 0, 0
	d.recipients.reset()
	d.chunk, d.text = chunkState{}, nil
}

// followSASL updates the state of an AUTH exchange.
func (d *Dialogue) followSASL(code int) {
	if code != 334 {
		d.secrets = nil
	}
	t := d.turn
	t.tellClientAuth(code)
	switch {
	case code == 334:
		t.sasl = true
		d.next = AwaitSASL
	case code < 300:
		d.seen.authenticated = true
		if d.policy.Logins == nil && (mayMask(t.said) || mayMask(t.line)) {
			d.next = AwaitOctets
		}
	default:
		d.seen.suspect = true
	}
}
