package rewrite

import (
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// maxRecipients bounds the recipients of a transaction of LMTP, and keptPath the length
// in octets of the paths that are compared (RFC 5321, 4.5.3.1.3 has 256 of them).
const (
	maxRecipients = 10_000
	keptPath      = 320
	// keptRecipients is for how many the room is kept from one message to the next.
	keptRecipients = 64
)

// recipients are those of a transaction of LMTP, in which the server answers the end
// of a message once for each RCPT that it has accepted, in their order (RFC 2033, 4.2),
// and BDAT LAST likewise (4.3). A nil *recipients is a session of SMTP.
type recipients struct {
	asked     []string // the paths of RCPT commands whose replies are outstanding
	accepted  []recipient
	distinct  int  // how many paths are among the accepted ones
	last      bool // the last reply to RCPT has accepted one
	answered  int  // replies to the end of the message so far
	pipelined bool // the client has sent more before it had the first of them
}

type recipient struct {
	path   string // in lower case; "": it is not kept
	untold bool   // a rule has refused it, and the client does not wait for its reply
}

// ask notes a RCPT command that the server gets.
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

// hear takes the server's reply to the oldest RCPT command.
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

// refuse notes that the client was told that its last recipient is refused.
func (r *recipients) refuse() {
	if r != nil && r.last {
		r.accepted[len(r.accepted)-1].untold, r.last = true, false
	}
}

// reset forgets the recipients of a transaction.
func (r *recipients) reset() {
	if r == nil {
		return
	}
	*r = recipients{asked: r.asked, accepted: r.accepted[:0]}
	if cap(r.accepted) > keptRecipients {
		r.accepted = nil
	}
}

// due is how many replies to the message have not come. There is one at least.
func (r *recipients) due() int {
	if r == nil {
		return 1
	}
	return max(len(r.accepted)-r.answered, 1)
}

// told is how many replies to the message the client waits for.
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

// recipientReply takes a reply to the end of a message of LMTP.
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

// Suffices reports whether the replies to a message of LMTP that have come may be all
// that come, if the client goes on and the server says nothing more: a server may
// answer once for a recipient that it was given twice (smtp-server 3.21.6), and one
// that answers once for all suits a client that reads one reply. A client that sent
// its next command before it had the first reply is not known to be content. If DATA was
// accepted although no recipient was, no reply at all may come (RFC 2033, 4.2).
func (d *Dialogue) Suffices() bool {
	r := d.recipients
	return r != nil && d.sent.n == 1 && d.sent.first() == VerbMessage &&
		(r.answered > 0 && (r.answered >= r.distinct || !r.pipelined) || len(r.accepted) == 0)
}

// Settle ends the wait for replies to a message, where Suffices is true. A reply that
// comes all the same would be taken for the answer to the next command. Without groups
// and BDAT no message is ended by that: DATA is refused, or not answered with 354.
func (d *Dialogue) Settle() {
	d.event("no more replies to the message")
	d.sent.pop()
	d.endTransaction()
	d.server.short = true
	d.next = AwaitCommand
}

// refuseShort ends a session that would send BDAT to a server for whose missing
// replies Settle has not waited.
func (d *Dialogue) refuseShort() {
	d.server.gone = true
	d.end(vocabulary.OutcomeServerProtocol, shortText)
}

const shortText = "421 4.3.0 the server answered for fewer recipients than it accepted, connect again"

// answerEach answers the end of a message ourselves, for each recipient.
func (d *Dialogue) answerEach(v Verb, text string) {
	for range d.recipients.told() {
		d.answer(v, text)
	}
}

// giveEach gives the client a reply of the server's to the end of a message that the
// server has not got, for each recipient.
func (d *Dialogue) giveEach(raw []byte) {
	for range d.recipients.told() {
		if d.deliver(VerbMessage, nil, nil, raw, 0); d.next == End || d.parting {
			return
		}
	}
}
