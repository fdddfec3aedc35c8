package rewrite

import (
	"fmt"
	"strconv"
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// Limits are the limits of a session. If a client exceeds Errors, Idle or Messages, it
// gets 421 and the session ends. 0 means no limit, except for ReplyLine.
type Limits struct {
	Errors int // command lines that are malformed or too long

	// Idle is the number of commands that a client may send outside of transactions
	// without a message between them. MAIL, RCPT, DATA, BDAT and QUIT do not count.
	Idle int

	Recipients int // recipients of one transaction; the next RCPT gets 452
	Messages   int // messages of one session, accepted or not; the next MAIL gets 421

	// MessageSize is in octets. A larger message, or a MAIL with a larger SIZE, gets 552.
	MessageSize int64

	ReplyLine int // octets of a line of a server's reply: see Repair.Limit; 0: 4,096
}

// mailing is the set of commands that carry a mail on, or end the session.
var mailing = SetOf(VerbMAIL, VerbRCPT, VerbDATA, VerbBDAT, VerbQUIT)

// exceeds returns the limit that a command exceeds, and the reply to the command; "" if
// it exceeds none.
func (d *Dialogue) exceeds(v Verb, line []byte) (limit vocabulary.Limit, text string) {
	l := &d.policy.Limits
	switch {
	case v == VerbRCPT && l.Recipients > 0 && int(d.seen.recipients)+d.sent.count(VerbRCPT) >= l.Recipients:
		return vocabulary.LimitRecipients, "452 4.5.3 too many recipients" // RFC 5321, 4.5.3.1.10
	case v == VerbRCPT && d.recipients != nil && len(d.recipients.accepted)+len(d.recipients.asked) >= maxRecipients:
		return vocabulary.LimitRecipients, "452 4.5.3 too many recipients"
	case v == VerbMAIL && l.Messages > 0 && int(d.seen.messages) >= l.Messages:
		return vocabulary.LimitMessages, "421 4.7.0 too many messages in one session"
	case v == VerbMAIL && l.MessageSize > 0 && declaredSize(line) > l.MessageSize:
		return vocabulary.LimitMessageSize, d.tooLarge()
	case l.Idle > 0 && int(d.seen.idle) >= l.Idle && !d.seen.transaction && !mailing.Has(v):
		return vocabulary.LimitIdleCommands, "421 4.7.0 too many commands without a message"
	}
	return "", ""
}

func (d *Dialogue) tooLarge() string {
	return fmt.Sprintf("552 5.3.4 a message may have %d octets here", d.policy.Limits.MessageSize) // RFC 1870, 6.1
}

// meetsLimit answers a command that exceeds a limit.
func (d *Dialogue) meetsLimit(v Verb, limit vocabulary.Limit, text string) {
	d.listener.Limited(limit)
	if strings.HasPrefix(text, "421") {
		d.end(vocabulary.OutcomeClientProtocol, text)
		return
	}
	d.answer(v, text)
}

// declaredSize returns the parameter SIZE of a MAIL command (RFC 1870, 5); 0 if there is
// none or it is not a number.
func declaredSize(line []byte) int64 {
	for word := range strings.FieldsSeq(string(line)) {
		if len(word) > len("SIZE=") && strings.EqualFold(word[:len("SIZE=")], "SIZE=") {
			if n, err := strconv.ParseInt(word[len("SIZE="):], 10, 64); err == nil {
				return n
			}
		}
	}
	return 0
}

// RefuseMessage refuses the message that is being sent to the server. The caller may
// call it while Next is AwaitMessage. Next is then AwaitDiscard: the rest of the
// message is discarded. The client gets text, a reply without CRLF, at the end of the
// message. The server never receives that end, and the connection to it is given up.
func (d *Dialogue) RefuseMessage(text string) {
	d.early = text + "\r\n"
	d.server.gone = true
	d.cause = &cause{vocabulary.OutcomeMessageRefused, weSaid + text}
	d.next = AwaitDiscard
	d.event("message refused: " + text)
}

// TooLarge calls RefuseMessage with a 552, because the message is larger than
// Limits.MessageSize. It also calls [Listener.Limited].
func (d *Dialogue) TooLarge() {
	d.listener.Limited(vocabulary.LimitMessageSize)
	d.RefuseMessage(d.tooLarge())
}
