package rewrite

import (
	"cmp"

	"smtpshim/rewrite/vocabulary"
)

const partedReason = "the server said 421"

// parts notes that the server has answered a command with 421. It is about to hang up
// (RFC 5321, 3.8), and the client has its last reply if it does. Until then both may go
// on, as they may without us: a client says QUIT (RFC 5321, 4.1.1.10), and a server may
// say 421 of one recipient only.
func (d *Dialogue) parts() {
	d.parting = true
	d.cause = &cause{vocabulary.OutcomeServerLost, cmp.Or(d.Reason(), partedReason)}
}

// goesOn undoes parts: a command of the client's, or another reply of the server's, has
// come behind the 421.
func (d *Dialogue) goesOn() {
	if d.parting && !d.spent {
		d.parting, d.cause = false, nil
	}
}

// leave ends the session of a server that has hung up behind its 421. The client gets
// nothing more: it was told so.
func (d *Dialogue) leave() {
	d.fail(vocabulary.OutcomeServerLost, partedReason)
	d.next = End
}

// turnedAway ends the session of a server that has refused it in its greeting and has
// hung up. The client has that refusal, and gets nothing more. No fresh connection is
// made: the server may not know there what it has refused the client for.
func (d *Dialogue) turnedAway() {
	d.fail(vocabulary.OutcomeServerLost, "the server refused the session in its greeting")
	d.next = End
}
