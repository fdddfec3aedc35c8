package rewrite

import (
	"bytes"

	"smtpshim/rewrite/vocabulary"
)

// SASL takes raw, a client's line of an AUTH exchange with its line end, while Next
// returns AwaitSASL. raw is not a command, even if it reads like one (RFC 4954, 4). If
// raw is malformed and no rule mends it, the client gets a 500 and the session ends. The
// same happens if raw is nil, which stands for a line that was too long.
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
		text := "500 5.5.2 a SASL line ends with CRLF and has no bare CR, bare LF or NUL in it"
		if raw == nil {
			text = "500 5.5.6 SASL line too long" // RFC 4954, 6
		}
		d.end(vocabulary.OutcomeClientProtocol, text)
		return
	}
	if d.secrets != nil {
		d.secrets.add(line)
	}
	d.resume(event{kind: saidSASL, raw: line})
}

// saySASL waits for the client's line of an AUTH exchange and sends the result of the
// rules. If the server waits for a command, the result must be AUTH.
func (t *Turn) saySASL() (raw []byte, ok bool) {
	d, command := t.d, t.line
	for {
		t.answered, t.swallow, t.lineBy, t.replyBy = Reply{}, false, ruleSet{}, ruleSet{}
		said := t.await(AwaitSASL).raw
		t.step++
		t.replies(said)
		t.line = said
		if string(said) != "*" { // no rule may change a cancellation
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
		if !t.pending { // a rule has made a command of the client's line
			d.traceSASL(said, nil, t.byRules(t.lineBy))
			t.line = bytes.Clone(line)
			return t.exchange(string(line))
		}
		if d.secrets != nil && !bytes.Equal(line, said) { // a rule made this line of what the client said
			d.secrets.add(line)
		}
		d.traceSASL(said, line, t.byRules(t.lineBy))
		d.ToServer = append(append(d.ToServer, line...), crlf...)
		d.sent.push(t.verb)
		t.asks(line)
		d.long = false // a server that supports AUTH accepts 12,288 octets in a SASL line (RFC 4954, 4)
		if e := t.await(AwaitReply); e.kind == replied {
			return e.raw, true
		}
		d.end(vocabulary.OutcomeServerLost, lostText)
		return nil, false
	}
}

// cancel cancels at the server an exchange that a rule has ended with the client.
// Otherwise the server would take the next command for a SASL line. If the server waits
// for a command, cancel does nothing.
func (t *Turn) cancel() (ok bool) {
	if !t.pending {
		return true
	}
	d, cause := t.d, t.d.policy.Rules.nameSet(t.lineBy)
	switch e := t.say("*", cause); { // RFC 4954, 4
	case e.kind == lost:
		d.end(vocabulary.OutcomeServerLost, lostText)
		return false
	case e.code < 400: // the server goes on with the exchange, or has accepted it
		d.breach()
		return false
	default:
		d.swallow(e.raw, cause)
		return true
	}
}

// traceSASL tells the tracer the length of a SASL line.
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

// mechanismOf returns the mechanism of an AUTH command, in upper case.
func mechanismOf(command []byte) string {
	word, _, _ := bytes.Cut(Argument(command), []byte(" "))
	return string(bytes.ToUpper(word))
}
