package rewrite

import (
	"bytes"

	"smtpshim/rewrite/vocabulary"
)

// SASL takes a client's line of an AUTH exchange, with its line end. It passes
// unseen, whatever it spells (RFC 4954, 4).
func (d *Dialogue) SASL(raw []byte) {
	line, ok := cutCRLF(raw)
	if !ok {
		d.observed.mendsSASL(raw)
		var by ruleSet
		line, by = d.runLine(raw)
		d.mendedLine(by)
	}
	if line == nil {
		d.server.gone = true
		d.end(vocabulary.OutcomeClientProtocol, "500 5.5.2 a SASL line ends with CRLF and has no bare CR, bare LF or NUL in it")
		return
	}
	if d.secrets != nil {
		d.secrets.add(line)
	}
	d.resume(event{kind: saidSASL, raw: line})
}

// saySASL waits for the client's line of an AUTH exchange and says what the
// rules make of it. Where the server waits for a command, that must be AUTH.
func (t *Turn) saySASL() (raw []byte, ok bool) {
	d, command := t.d, t.line
	for {
		t.answered, t.swallow, t.lineBy, t.replyBy = Reply{}, false, ruleSet{}, ruleSet{}
		said := t.await(AwaitSASL).raw
		t.step++
		t.replies(said)
		t.line = said
		if string(said) != "*" { // a cancellation is nobody's to change
			d.observed.says(t, said)
			t.runSASL()
		}
		line := t.line
		t.line = command
		switch {
		case t.swallow:
			d.traceSASL(said, nil, t.byRules(t.lineBy))
			continue
		case t.answered.Code == 0 && !t.pending && string(said) == "*":
			t.answered = Reply{501, []string{"5.7.0 the exchange is cancelled"}} // RFC 4954, 4
		case t.answered.Code == 0 && !t.pending && !sasl.Has(ParseVerb(line)):
			t.answered = Reply{454, []string{"4.7.0 the exchange cannot go on"}}
		}
		if t.answered.Code != 0 {
			d.traceSASL(said, nil, t.byRules(t.lineBy))
			return nil, t.answered.Code == 334 || t.cancel()
		}
		if !t.pending { // a rule has made a command of what the client has said
			d.traceSASL(said, nil, t.byRules(t.lineBy))
			t.line = bytes.Clone(line)
			return t.exchange(string(line))
		}
		if d.secrets != nil && !bytes.Equal(line, said) { // a rule's, with what the client said in it
			d.secrets.add(line)
		}
		d.traceSASL(said, line, t.byRules(t.lineBy))
		d.ToServer = append(append(d.ToServer, line...), crlf...)
		d.sent.push(t.verb)
		t.asks(line)
		d.long = false // whoever knows AUTH takes lines of 12,288 octets in it (RFC 4954, 4)
		if e := t.await(AwaitReply); e.kind == replied {
			return e.raw, true
		}
		d.end(vocabulary.OutcomeServerLost, lostText)
		return nil, false
	}
}

// cancel ends the server's part of an exchange that a rule has ended for the
// client: the server would take the next command for a SASL line. It does
// nothing if the server waits for a command.
func (t *Turn) cancel() (ok bool) {
	if !t.pending {
		return true
	}
	d, cause := t.d, t.d.policy.Rules.nameSet(t.lineBy)
	switch e := t.say("*", cause); { // RFC 4954, 4
	case e.kind == lost:
		d.end(vocabulary.OutcomeServerLost, lostText)
		return false
	case e.code < 400: // it goes on with the exchange, or was content with what it had
		d.breach()
		return false
	default:
		d.swallow(e.raw, cause)
		return true
	}
}

// traceSASL tells the tracer of a SASL line, of which it hears the length only.
func (d *Dialogue) traceSASL(said, got []byte, by Causes) {
	if d.tracer == nil {
		return
	}
	was, is := []string{hidden(len(said))}, []string(nil)
	if got != nil {
		is = []string{hidden(len(got))}
	}
	if bytes.Equal(said, got) {
		by = Causes{}
	}
	d.tracer.Exchanged('C', was, is, by)
}

// mechanismOf reads the mechanism of an AUTH command, in upper case.
func mechanismOf(command []byte) string {
	word, _, _ := bytes.Cut(Argument(command), []byte(" "))
	return string(bytes.ToUpper(word))
}
