package rewrite

import "smtpshim/rewrite/vocabulary"

const (
	spentText   = "421 4.3.0 the last message cost the connection to the server, connect again"
	noMailText  = "503 5.5.1 MAIL first"
	spentOkText = "250 2.0.0 ok"
)

// spend goes on without the server, which will not hear the end of a message that was
// begun. The client, which has its answer, keeps its session: what comes before the next
// mail is answered here, and that mail begins with a fresh connection, see redial. A
// client that was told 421 may hang up, or go on likewise.
func (d *Dialogue) spend(failure vocabulary.Outcome, reason string) {
	parting := d.next == End || d.parting
	d.fail(failure, reason)
	d.server.gone = true
	d.spent, d.parting = true, parting
	d.next = AwaitCommand
}

// Parting reports whether the client's last reply said that the session ends, though
// another command would be answered: if none comes soon, none will.
func (d *Dialogue) Parting() bool { return d.parting }

// CommandInText is Command for a client that got the answer to its message before the
// end, and has not sent that end. What looks like a command may be a line of the
// message, so nothing is begun.
func (d *Dialogue) CommandInText(raw []byte) {
	d.inText = true
	d.Command(raw, false)
	d.inText = false
}

// answersSpent reports whether a command that comes after spend is answered here. What
// the client has logged in for cannot be done on a fresh connection.
func (d *Dialogue) answersSpent(v Verb) bool {
	return d.spent && (beforeMail.Has(v) || d.inText || d.seen.authenticated)
}

// beforeMail is what needs no server while no transaction is open.
var beforeMail = SetOf(VerbNOOP, VerbRSET, VerbQUIT, VerbRCPT, VerbDATA, VerbBDAT)

// answerSpent answers what answersSpent reports.
func (d *Dialogue) answerSpent(v Verb, line []byte) {
	d.parting = false
	switch v {
	case VerbQUIT:
		d.Finish("221 2.0.0 closing connection")
	case VerbNOOP:
		d.answer(v, spentOkText)
	case VerbRSET:
		d.endTransaction()
		d.answer(v, spentOkText)
	case VerbBDAT:
		d.swallowChunk(line, noMailText)
	case VerbRCPT, VerbDATA:
		d.answer(v, noMailText)
	default:
		d.Finish(spentText)
	}
}

// redial has a fresh connection made in place of the one that a message has cost, and
// the client's hello said again, unless the client says one itself. It is false if the
// session ends for it.
func (t *Turn) redial() (ok bool) {
	d := t.d
	d.spent, d.parting, d.cause = false, false, nil
	if !t.reconnect() {
		return false
	}
	if hello.Has(t.verb) || len(d.hello) == 0 {
		return true
	}
	t.redials = true
	raw, ok := t.sayHello(string(d.hello))
	if !ok {
		return false
	}
	d.swallow(raw, t.ownCause())
	t.redials = false
	if codeOf(raw) >= 300 {
		d.server.gone = true
		d.end(vocabulary.OutcomeServerUnreachable, unreachableText)
		return false
	}
	return true
}
