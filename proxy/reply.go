package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"smtpshim/proxy/wire"
	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// holdReplies is how long replies to a group of commands are held back while others of the
// group have not come. If these come in time, all are sent to the client in one write.
const holdReplies = 100 * time.Millisecond

// The faults of replies after which the session cannot go on.
var (
	errBadReply = errors.New("not a reply")
	errUnasked  = fmt.Errorf("%w to anything: it came before the command", errBadReply)
	errTooMuch  = fmt.Errorf("%w within the limits", errBadReply)
	errSplit    = fmt.Errorf("%w: several replies to one long command, which a limits.command_line of 512 would not let through", errUnasked)
	errMixed    = fmt.Errorf("%w: different codes in its lines", errBadReply) // RFC 5321, 4.2.1
)

// spokeWait is how long to wait for octets that the server has sent already.
const spokeWait = 100 * time.Millisecond

// premature reports whether the server has sent a reply before the command that is about to
// be written. If that command were written, the reply would be taken for the reply to it,
// and each later reply for that to the wrong command. A 421 is never premature: it may come
// at any time.
func (s *session) premature() bool {
	if !s.answered || s.server == nil || len(s.dialogue.ToServer) == 0 {
		return false
	}
	s.answered = false
	if !s.server.Spoke() {
		return false
	}
	if len(s.server.Buffered()) == 0 {
		s.fill(s.server, s.now.Add(spokeWait))
	}
	s.dropUnasked()
	b := s.server.Buffered()
	return len(b) > 0 && !bytes.HasPrefix(b, []byte("421"))
}

// reply reads the server's reply to the oldest command and gives it to the dialogue.
func (s *session) reply() error {
	d := s.dialogue
	s.while = replyWaits[d.Awaited()]
	if err := s.ask(); err != nil {
		return s.replied(nil, err)
	}
	allowed := s.route.Timeouts.reply()
	if d.Awaited() == rewrite.VerbMessage {
		allowed = s.route.Timeouts.dataEnd()
	}
	if p := d.Patience(); p > 0 {
		allowed = min(allowed, time.Duration(p)*time.Millisecond)
	}
	if d.Parting() {
		allowed = min(allowed, lastWords) // a server that said 421 hangs up, or replies at once
	}
	raw, settled, err := s.readSome(allowed)
	if err == nil && !settled && d.MaySplit() {
		raw, err = s.onlyReply(len(raw))
	}
	d.ToServer = reuse(d.ToServer)
	if settled {
		return nil
	}
	return s.replied(raw, err)
}

// ask sends the server what the dialogue has for it, or lets the wait for the reply send it
// (see [wire.Leg.Ask]). An error of the connection shows when the reply is read.
func (s *session) ask() error {
	d := s.dialogue
	if len(d.ToServer) == 0 || s.server == nil {
		return nil
	}
	s.asked = s.now.Sub(s.began)
	if s.answered && s.server.Ask(d.ToServer, s.route.Timeouts.data()) {
		s.answered = false
		return nil
	}
	if s.premature() {
		return errUnasked
	}
	err := s.serverWrite(d.ToServer)
	d.ToServer = reuse(d.ToServer)
	if err != nil && isTimeout(err) {
		return err
	}
	return nil
}

// readReply waits for a whole reply. All of the reply must come within the time allowed. If
// it does not come within holdReplies, readReply sends the client the replies that were
// read before.
func (s *session) readReply(allowed time.Duration) ([]byte, error) {
	if s.server == nil {
		return nil, errBadReply
	}
	deadline, flushAt, heard := s.now.Add(allowed), s.now.Add(min(holdReplies, allowed)), s.now
	for {
		had := len(s.server.Buffered())
		raw, wait, bad := s.nextReply(s.now.Sub(heard))
		if raw != nil || bad != nil && wait == 0 {
			return raw, bad
		}
		if had > 0 && len(s.server.Buffered()) == 0 && s.unawaited() {
			return nil, errDropped
		}
		until, flushes := deadline, len(s.dialogue.ToClient) > 0
		if flushes {
			until = flushAt
		}
		repairs := wait > 0 && heard.Add(wait).Before(until)
		if repairs {
			until = heard.Add(wait)
		}
		err := s.fill(s.server, until)
		switch {
		case err == nil:
			heard = s.now
		case repairs && isTimeout(err) && !s.now.Before(until): // ask the rules again
		case flushes && isTimeout(err):
			if err := s.flushClient(); err != nil {
				return nil, err
			}
		case err == wire.ErrSpoke && s.dropUnasked():
			if err := s.serverWrite(s.dialogue.ToServer); err != nil {
				return nil, err
			}
		case err == wire.ErrSpoke && !bytes.HasPrefix(s.server.Buffered(), []byte("421")):
			return nil, errUnasked
		case err == wire.ErrSpoke:
		case !isTimeout(err) && !errors.Is(err, wire.ErrFull) && s.isCutOff(): // the rules have completed it
		case bad != nil: // nothing came with which the rules would have repaired the reply
			return nil, bad
		default:
			return nil, err
		}
	}
}

// nextReply is wholeReply after the rules have repaired what the server sent, if that is no
// whole reply or more than one. quiet is the time for which nothing more has come. If wait
// is not 0, the caller asks again when more has come, or when nothing has come for that
// time. err is then what is wrong with the reply if the rules do not repair it.
func (s *session) nextReply(quiet time.Duration) (raw []byte, wait time.Duration, err error) {
	raw, err = s.wholeReply()
	if !s.dialogue.Repairs() {
		return raw, 0, err
	}
	for range maxRepairs {
		b := s.server.Buffered()
		if len(b) == 0 || err == nil && s.asAsked(b[len(raw):]) && !s.doubtful(raw) {
			break
		}
		n, made, ok, again := s.dialogue.Repair(b, quiet.Milliseconds())
		if !ok {
			if again > 0 {
				return nil, time.Duration(again) * time.Millisecond, err
			}
			break
		}
		s.badReply(err)
		s.server.Replace(n, made)
		raw, err = s.wholeReply()
	}
	return raw, 0, err
}

// isCutOff reports whether the rules have made a reply of an incomplete one, after which the
// server has hung up.
func (s *session) isCutOff() bool {
	b := s.server.Buffered()
	if len(b) == 0 || !s.dialogue.Repairs() {
		return false
	}
	n, made, ok := s.dialogue.RepairCutOff(b)
	if ok && len(made) > 0 {
		s.server.Replace(n, made)
	}
	return ok && len(made) > 0
}

// asAsked reports whether b, which follows a reply, consists of whole replies, and of no
// more than are due. Each of them needs no repair until it is the first.
func (s *session) asAsked(b []byte) bool {
	for n := s.dialogue.Outstanding() - 1; len(b) > 0; n-- {
		scan, err := rewrite.ScanReply(b)
		if n <= 0 || err != nil || scan.N == 0 || scan.Mixed {
			return false
		}
		b = b[scan.N:]
	}
	return true
}

// doubtful reports whether the rules look at a reply although it is whole. There are three
// such replies. A reply of one line to EHLO may have more lines that follow it. A reply
// 221 to a command other than QUIT is a goodbye and does not accept the command. A last line
// that ends right after its code is no reply to some clients.
func (s *session) doubtful(raw []byte) bool {
	switch s.dialogue.Awaited() {
	case rewrite.VerbGreeting:
	case rewrite.VerbEHLO, rewrite.VerbLHLO:
		if bytes.IndexByte(raw, '\n') == len(raw)-1 {
			return true
		}
	case rewrite.VerbQUIT:
	default:
		if bytes.HasPrefix(raw, []byte("221")) {
			return true
		}
	}
	last := raw[bytes.LastIndexByte(raw[:len(raw)-1], '\n')+1:]
	return len(last) == len("250\r\n")
}

// maxRepairs bounds how often the rules may repair what the server sent before more comes.
const maxRepairs = 16

// errDropped says that no reply was due, and that the rules have dropped all that the server
// sent.
var errDropped = errors.New("the server sent no reply that counts")

// unawaited reports whether no reply is due: no command waits for one, or a message is being
// sent.
func (s *session) unawaited() bool {
	d := s.dialogue
	return d.Awaited() == rewrite.VerbOther && d.Outstanding() == 0 || d.Next(false).OfMessage()
}

// dropUnasked lets the rules drop what the server has sent while no reply was due. It reports
// whether they have dropped all of it.
func (s *session) dropUnasked() bool {
	if len(s.server.Buffered()) == 0 || !s.dialogue.Repairs() {
		return false
	}
	for range maxRepairs {
		n, made, ok := s.dialogue.RepairUnasked(s.server.Buffered())
		if !ok {
			return false
		}
		s.badReply(errUnasked)
		s.server.Replace(n, made)
		if len(made) > 0 {
			return false
		}
		if len(s.server.Buffered()) == 0 {
			return true
		}
	}
	return false
}

// saidNothing is dropUnasked for octets that may not be buffered yet. It waits for them for
// up to spokeWait.
func (s *session) saidNothing() bool {
	if !s.route.Rules.Repairs() {
		return s.dropUnasked() // observed rules look at it, and drop nothing
	}
	if len(s.server.Buffered()) == 0 {
		s.fill(s.server, s.now.Add(spokeWait)) // the next read returns the error, if any
	}
	return s.dropUnasked()
}

// lastWord gives the client the reply that the server sent unasked before it hung up: a
// goodbye (221), or a refusal after which the server hangs up. For any other reply it
// returns false, and so for a 421, which needs no such care.
func (s *session) lastWord() bool {
	raw, err := s.wholeReply()
	if err != nil || len(raw) == 0 || bytes.HasPrefix(raw, []byte("421")) {
		return false
	}
	raw = bytes.Clone(raw)
	leaves := bytes.HasPrefix(raw, []byte("221")) || raw[0] >= '4' && s.hungUp()
	if !leaves || !s.dialogue.LastWord(raw) {
		return false
	}
	s.trouble(fmt.Errorf("the server closed an idle session: %s", s.quoted(rewrite.VerbOther, raw)))
	s.failed(vocabulary.ServerLost)
	return true
}

// hungUp reports whether the server hangs up within hangsUpWithin.
func (s *session) hungUp() bool {
	for until := s.now.Add(hangsUpWithin); ; {
		if err := s.fill(s.server, until); err != nil {
			return !isTimeout(err) && !errors.Is(err, wire.ErrFull)
		}
	}
}

// hangsUpWithin is how soon after its last reply a server hangs up.
const hangsUpWithin = 500 * time.Millisecond

// wholeReply returns the first reply that is buffered; nil if it is not whole yet. It is an
// error if the reply is malformed or exceeds a limit. The reply stays buffered.
func (s *session) wholeReply() ([]byte, error) {
	b := s.server.Buffered()
	scan, err := rewrite.ScanReply(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w: %s", errBadReply, err, s.quoted(s.dialogue.Awaited(), b))
	}
	limit := s.route.Limits.replyLine()
	if len(b) >= 3 && string(b[:3]) == "334" {
		limit = max(limit, s.route.Limits.saslLine())
	}
	switch {
	case scan.Longest > limit:
		return nil, fmt.Errorf("%w: a line of over %d octets: %s", errTooMuch, limit, s.quoted(s.dialogue.Awaited(), b))
	case scan.Lines > s.route.Limits.replyLines():
		return nil, fmt.Errorf("%w: over %d lines: %s", errTooMuch, s.route.Limits.replyLines(), s.quoted(s.dialogue.Awaited(), b))
	case scan.N > 0 && scan.Mixed:
		return nil, fmt.Errorf("%w: %s", errMixed, s.quoted(s.dialogue.Awaited(), b))
	case scan.N == 0 && len(b) >= maxReply:
		return nil, fmt.Errorf("%w: over %d octets: %s", errTooMuch, maxReply, s.quoted(s.dialogue.Awaited(), b))
	case scan.N == 0:
		return nil, nil
	}
	return b[:scan.N], nil
}

// maxReply bounds a whole reply, in octets.
const maxReply = 64 << 10

// cut shortens what a peer said for the log.
func cut(b []byte) []byte { return b[:min(len(b), 120)] }

// quoted returns what the server said, shortened and quoted for the log. If it may contain a
// SASL challenge or repeat a credential, only its plain words are kept.
func (s *session) quoted(v rewrite.Verb, b []byte) string {
	switch {
	case isAUTH(v), bytes.HasPrefix(b, []byte("334")), v == rewrite.VerbOther && s.dialogue.MayRepeatCredentials():
		return fmt.Sprintf("%q, of %d octets", rewrite.PlainWords(cut(b)), len(b))
	}
	return fmt.Sprintf("%q", cut(b))
}

// replied gives the dialogue a reply, or tells it why none came.
func (s *session) replied(raw []byte, err error) error {
	d := s.dialogue
	switch {
	case err == nil:
		s.replyIs(raw)
	case errors.Is(err, errEnded):
		return err
	case err == errSplit:
		s.trouble(err)
		s.badReply(err)
		s.failed(vocabulary.ServerProtocol)
		d.Split()
	case errors.Is(err, errUnasked) && s.server != nil && s.lastWord():
	case errors.Is(err, errBadReply), errors.Is(err, wire.ErrFull):
		s.trouble(err)
		s.badReply(err)
		s.failed(vocabulary.ServerProtocol)
		if d.Awaited() == rewrite.VerbMessage && !errors.Is(err, errUnasked) {
			s.unknown()
		}
		d.Garbage()
	case isTimeout(err):
		s.trouble(err)
		s.failed(vocabulary.ServerTimeout)
		if d.Awaited() == rewrite.VerbMessage {
			s.unknown()
		}
		d.Silent()
	default:
		s.trouble(err)
		s.failed(vocabulary.ServerLost)
		if d.Awaited() == rewrite.VerbMessage {
			s.unknown()
		}
		d.Lost()
	}
	return nil
}

// replyIs gives the dialogue a whole reply. A positive reply to a message does not count if
// the server has not received all of the message. What follows the reply is examined after
// the client has got the reply: the first reply is the one to the command. If it were
// dropped, the client would send again a message that was delivered.
func (s *session) replyIs(raw []byte) {
	d := s.dialogue
	verb, asked := d.Awaited(), d.Outstanding()
	looks := verb == rewrite.VerbDATA && raw[0] != '3' || verb == rewrite.VerbMessage && asked > 1
	ahead := len(s.client.Buffered()) > 0 || looks && s.client.Sent()
	more := s.server.Buffered()[len(raw):]
	if asked > 0 && s.route.Observer != nil {
		s.route.Observer.ServerReplied(verbNames[verb], s.now.Sub(s.began)-s.asked)
	}
	if asked == 1 && verb == rewrite.VerbMessage && s.server.Broken && raw[0] == '2' {
		d.Garbage()
	} else {
		d.Reply(raw, ahead, len(more) > 0)
	}
	switch {
	case d.Failure() == "server-protocol":
		to := verbNames[verb]
		if asked == 0 {
			to = "any command"
		}
		s.trouble(fmt.Errorf("%w to %s: %s", errBadReply, to, s.quoted(verb, s.server.Buffered())))
		s.misspoke(vocabulary.BadReplyUnfitting)
		if verb == rewrite.VerbMessage {
			s.unknown()
		}
	case asked > 0 && bytes.HasPrefix(raw, []byte("221")) && d.Failure() == vocabulary.OutcomeServerLost:
		s.trouble(fmt.Errorf("the server hung up with %s, which is no reply to %s", s.quoted(verb, raw), verbNames[verb]))
		s.failed(vocabulary.ServerLost)
		if verb == rewrite.VerbMessage {
			s.unknown()
		}
	case verb == rewrite.VerbMessage:
		s.sawReply(raw)
	}
	s.server.Consume(len(raw))
	s.answered = d.Outstanding() == 0
}

// unknown reports a message whose final dot was sent and whose reply is lost: the server may
// have accepted it (RFC 1047).
func (s *session) unknown() {
	s.messageOutcome(vocabulary.MessageUnknown)
	s.unsure = true
}

// badReply reports what is wrong with a reply, if err is a fault of one.
func (s *session) badReply(err error) {
	o := s.route.Observer
	switch {
	case o == nil:
	case errors.Is(err, errUnasked):
		o.BadReply(vocabulary.BadReplyUnasked)
	case errors.Is(err, errTooMuch), errors.Is(err, wire.ErrFull):
		o.BadReply(vocabulary.BadReplyTooLong)
	case errors.Is(err, errMixed):
		o.BadReply(vocabulary.BadReplyMixedCodes)
	case errors.Is(err, errBadReply):
		o.BadReply(vocabulary.BadReplyGarbage)
	}
}

// misspoke reports that the server has violated the protocol.
func (s *session) misspoke(why vocabulary.BadReply) {
	if o := s.route.Observer; o != nil {
		o.BadReply(why)
	}
	s.failed(vocabulary.ServerProtocol)
}

// failed reports a failure of the server, unless we are closing everything.
func (s *session) failed(reason vocabulary.ServerFailure) {
	if s.route.Observer != nil && s.proxy.ending.Err() == nil {
		s.route.Observer.ServerFailed(reason)
	}
}
