package rewrite

import "smtpshim/rewrite/vocabulary"

const (
	spentText   = "421 4.3.0 the last message cost the connection to the server, connect again"
	noMailText  = "503 5.5.1 MAIL first"
	spentOkText = "250 2.0.0 ok"
)

// spend gives up the connection to the server, which will not receive the end of a
// message that was begun. The client has its reply and keeps its session. What it sends
// before the next mail is answered here, and that mail begins with a fresh connection:
// see redial. A client that was told 421 may hang up, or go on likewise.
func (d *Dialogue) spend(failure vocabulary.Outcome, reason string) {
	parting := d.next == End || d.parting
	d.fail(failure, reason)
	d.server.gone = true
	d.spent, d.parting = true, parting
	d.next = AwaitCommand
}

// Parting reports whether the client got a 421, which announces the end of the session,
// and neither a command nor another reply has followed. The client may still send a
// command and gets a reply to it, but the caller waits for that command only briefly.
func (d *Dialogue) Parting() bool { return d.parting }

// CommandInText takes raw, a line that the client sent after it got the reply to its
// message, but before it sent the end of the message. raw may be a command, or text of
// the message. So the dialogue answers it without sending it to a server.
func (d *Dialogue) CommandInText(raw []byte) {
	d.inText = true
	d.Command(raw, false)
	d.inText = false
}

// answersSpent reports whether we answer a command ourselves after spend. If the client
// has logged in, that holds for all commands, because a fresh connection would not be
// logged in.
func (d *Dialogue) answersSpent(v Verb) bool {
	return d.spent && (beforeMail.Has(v) || d.inText || d.seen.authenticated)
}

// beforeMail is the set of commands that need no server while no transaction is open.
var beforeMail = SetOf(VerbNOOP, VerbRSET, VerbQUIT, VerbRCPT, VerbDATA, VerbBDAT)

// answerSpent answers a command of which answersSpent is true.
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

// redial makes a fresh connection after spend, and sends the client's hello again unless
// the present command is one. It returns false if the session has ended.
func (t *Turn) redial() (ok bool) {
	d := t.d
	d.spent, d.parting, d.cause = false, false, nil
	if !t.reconnect() {
		return false
	}
	if hello.Has(t.verb) || d.hello == "" {
		return true
	}
	t.redials = true
	raw, ok := t.sayHello(d.hello)
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
