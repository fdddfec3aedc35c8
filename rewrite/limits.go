package rewrite

import (
	"fmt"
	"strconv"
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// Limits bound what a client may do in one session. If a client exceeds Errors, Idle or
// Messages, it gets 421 and the session ends. 0 means no limit, except for ReplyLine.
type Limits struct {
	Errors      int   // lines that are malformed or too long
	Idle        int   // commands outside of transactions since the last message
	Recipients  int   // recipients of one transaction; more get 452
	Messages    int   // messages of one session
	MessageSize int64 // octets of one message; a larger one gets 552
	ReplyLine   int   // octets of a line of a server's reply, for Repair; 0: 4,096
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

// RefuseMessage refuses a message that is being sent to the server. The rest of the
// message is discarded. The client gets text, a reply without CRLF, at the end of the
// message. The server never receives that end, and the connection to it is given up.
func (d *Dialogue) RefuseMessage(text string) {
	d.early = []byte(text + "\r\n")
	d.server.gone = true
	d.cause = &cause{vocabulary.OutcomeMessageRefused, weSaid + text}
	d.next = AwaitDiscard
	d.event("message refused: " + text)
}

// TooLarge calls RefuseMessage for a message that is larger than Limits.MessageSize.
// The client gets a 552 that says so.
func (d *Dialogue) TooLarge() {
	d.listener.Limited(vocabulary.LimitMessageSize)
	d.RefuseMessage(d.tooLarge())
}
