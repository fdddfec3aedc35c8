package rewrite

import (
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// maxRecipients is the largest number of recipients in a transaction of LMTP. keptPath is
// the length, in octets, of the longest path that is compared (RFC 5321, 4.5.3.1.3 allows
// 256).
const (
	maxRecipients = 10_000
	keptPath      = 320
	// keptRecipients is the number of recipients for which memory is kept for the next
	// message.
	keptRecipients = 64
)

// recipients are the recipients of a transaction of LMTP. The server answers the end of a
// message, and BDAT LAST, once for each RCPT that it has accepted, in their order (RFC
// 2033, 4.2 and 4.3). In a session of SMTP, the *recipients is nil.
type recipients struct {
	asked     []string // the paths of RCPT commands that have no reply yet
	accepted  []recipient
	distinct  int  // the number of different paths in accepted
	last      bool // the last reply to RCPT was a yes
	answered  int  // replies to the end of the message so far
	pipelined bool // the client has sent more before it got the first of these replies
}

type recipient struct {
	path   string // in lower case; "": not kept
	untold bool   // a rule has refused it, so the client expects no reply for it
}

// ask records a RCPT command that was sent to the server.
func (r *recipients) ask(line []byte) {
	if r == nil {
		return
	}
	path := ""
	if p, ok := ParsePath(line); ok && len(p.Address) <= keptPath {
		path = strings.ToLower(p.Address)
	}
	r.asked = append(r.asked, path)
}

// hear records the server's reply to the oldest RCPT command.
func (r *recipients) hear(code int) {
	if r == nil || len(r.asked) == 0 {
		return
	}
	path := r.asked[0]
	r.asked = r.asked[1:]
	if r.last = code < 300; !r.last {
		return
	}
	known := false
	for _, o := range r.accepted {
		known = known || o.path == path && path != ""
	}
	if !known {
		r.distinct++
	}
	r.accepted = append(r.accepted, recipient{path: path})
}

// accept records that the client was told that its last recipient is accepted. What is
// refused after it is another.
func (r *recipients) accept() {
	if r != nil {
		r.last = false
	}
}

// refuse records that the client was told that its last recipient is refused.
func (r *recipients) refuse() {
	if r != nil && r.last {
		r.accepted[len(r.accepted)-1].untold, r.last = true, false
	}
}

// reset drops the recipients of a transaction.
func (r *recipients) reset() {
	if r == nil {
		return
	}
	*r = recipients{asked: r.asked, accepted: r.accepted[:0]}
	if cap(r.accepted) > keptRecipients {
		r.accepted = nil
	}
}

// due returns how many replies to the message have not come. It is at least 1.
func (r *recipients) due() int {
	if r == nil {
		return 1
	}
	return max(len(r.accepted)-r.answered, 1)
}

// told returns how many replies to the message the client expects.
func (r *recipients) told() (n int) {
	if r != nil {
		for _, o := range r.accepted {
			if !o.untold {
				n++
			}
		}
	}
	return max(n, 1)
}

// recipientReply takes one reply to the end of a message in a session of LMTP.
func (d *Dialogue) recipientReply(raw []byte, ahead bool) {
	r := d.recipients
	if r.answered == 0 {
		r.pipelined = ahead
	}
	if r.due() == 1 {
		d.sent.pop()
	}
	i := r.answered
	r.answered++
	if i >= len(r.accepted) || !r.accepted[i].untold || codeOf(raw) == 421 {
		d.deliver(VerbMessage, nil, nil, raw, 0)
		return
	}
	d.trace('S', VerbMessage, raw, nil, Causes{})
	d.next = AwaitCommand
	if d.sent.n == 0 {
		d.endTransaction()
	}
}

// Suffices reports whether the server may send no more replies to a message of LMTP,
// although it owes one for each recipient that it has accepted. The caller asks before
// it waits for a reply. If Suffices is true, the caller calls Settle once the server
// has been silent for a while and the client has sent its next command.
//
// Suffices is true in these cases:
//
//   - The server has answered at least once for each different recipient. Some servers
//     answer once for a recipient that was given twice (smtp-server 3.21.6).
//   - The server has answered at least once, and when its first reply came, the client
//     had sent nothing behind the message. Some servers answer once for all recipients.
//     A client that has sent more may expect more replies.
//   - DATA was accepted without any recipient. No reply need come then (RFC 2033, 4.2).
func (d *Dialogue) Suffices() bool {
	r := d.recipients
	return r != nil && d.sent.n == 1 && d.sent.first() == VerbMessage &&
		(r.answered > 0 && (r.answered >= r.distinct || !r.pipelined) || len(r.accepted) == 0)
}

// Settle ends the wait for replies to a message. It may be called if Suffices is true.
// From then on, each command waits for the reply to the one before it, and a BDAT of
// the client ends the session with 421. If a missing reply comes later, it is taken for
// the reply to the next command. No message is lost by that, because DATA then gets a
// reply other than the 354 that it needs.
func (d *Dialogue) Settle() {
	d.event("no more replies to the message")
	d.sent.pop()
	d.endTransaction()
	d.server.short = true
	d.next = AwaitCommand
}

// refuseShort ends a session in which BDAT would be sent to a server after Settle.
func (d *Dialogue) refuseShort() {
	d.server.gone = true
	d.end(vocabulary.OutcomeServerProtocol, shortText)
}

const shortText = "421 4.3.0 the server answered for fewer recipients than it accepted, connect again"

// answerEach answers the end of a message with a reply of our own, once for each
// recipient.
func (d *Dialogue) answerEach(v Verb, text string) {
	for range d.recipients.told() {
		d.answer(v, text)
	}
}

// giveEach gives the client raw as the reply to the end of a message, once for each
// recipient. The server has not received that end.
func (d *Dialogue) giveEach(raw []byte) {
	for range d.recipients.told() {
		if d.deliver(VerbMessage, nil, nil, raw, 0); d.next == End || d.parting {
			return
		}
	}
}
