package rewrite

import (
	"bytes"
	"fmt"

	"smtpshim/rewrite/vocabulary"
)

// wasLost runs the rules on the loss of the server in place of a reply to the client's
// line. If a rule sends a line again, the result is the reply to that.
func (t *Turn) wasLost() (raw []byte, ok bool) {
	d := t.d
	d.observed.heldLoss(t)
	if !t.sasl && d.policy.Rules.seesLoss(t.verb) {
		t.lost, t.reply = true, Reply{}
		t.runReply()
		t.lost, t.silent = false, false
	}
	if !t.repeats {
		t.endLost()
		return nil, false
	}
	t.loses()
	return t.sayAgain(nil)
}

// endLost ends a session whose server has hung up. If the server had refused the client's
// line before another was sent in its place, the client gets that refusal, as it would
// without us.
func (t *Turn) endLost() {
	d := t.d
	switch {
	case t.refusal == nil && d.server.last == 421:
		d.leave()
		return
	case t.refusal == nil:
		d.end(vocabulary.OutcomeServerLost, lostText)
		return
	}
	d.server.gone = true
	d.fail(vocabulary.OutcomeServerLost, fmt.Sprintf("the server hung up after it said %d", codeOf(t.refusal)))
	t.recalled = t.lineCause()
	d.give(t.verb, t.refusal, Reply{})
	d.next = End
}

// refuses keeps a refusal that is not passed on to the client yet.
func (t *Turn) refuses(raw []byte) {
	if codeOf(raw) >= 400 {
		t.refusal = bytes.Clone(raw)
	}
}
