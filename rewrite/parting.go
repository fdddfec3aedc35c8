package rewrite

import (
	"cmp"

	"smtpshim/rewrite/vocabulary"
)

const partedReason = "the server said 421"

// parts records that the client got a 421. The server is about to hang up (RFC 5321,
// 3.8). If it does, the client has had its last reply. Until then both may go on, as they
// may without us: a client sends QUIT (RFC 5321, 4.1.1.10), and a server may mean the 421
// for one recipient only.
func (d *Dialogue) parts() {
	d.parting = true
	d.cause = &cause{vocabulary.OutcomeServerLost, cmp.Or(d.Reason(), partedReason)}
}

// goesOn undoes parts, because a command or another reply has followed the 421.
func (d *Dialogue) goesOn() {
	if d.parting && !d.spent {
		d.parting, d.cause = false, nil
	}
}

// leave ends the session after the server has sent 421 and hung up. The client gets
// nothing more: the 421 has announced it.
func (d *Dialogue) leave() {
	d.fail(vocabulary.OutcomeServerLost, partedReason)
	d.next = End
}

// turnedAway ends the session after the server has refused it in its greeting and hung
// up. The client has got that greeting and gets nothing more. No fresh connection is
// made, because the server may not repeat the refusal there.
func (d *Dialogue) turnedAway() {
	d.fail(vocabulary.OutcomeServerLost, "the server refused the session in its greeting")
	d.next = End
}
