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

// holdReplies is how long the client of a group waits for replies that are
// here while others are not: they go out in one write if they come in time.
const holdReplies = 100 * time.Millisecond

// What cannot be followed ends the session.
var (
	errBadReply = errors.New("not a reply")
	errUnasked  = fmt.Errorf("%w to anything: it came before the command", errBadReply)
	errTooMuch  = fmt.Errorf("%w within the limits", errBadReply)
	errSplit    = fmt.Errorf("%w: several replies to one long command, which a limits.command_line of 512 would not let through", errUnasked)
	errMixed    = fmt.Errorf("%w: different codes in its lines", errBadReply) // RFC 5321, 4.2.1
)

// spokeWait is for octets that are there already.
const spokeWait = 100 * time.Millisecond

// premature says whether the server has spoken although all it was asked has
// been answered, and what is to be asked is not written yet: that would be
// taken for the answer, and every later one with it. A 421 may come at any time.
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

// reply reads the server's answer to the oldest command and gives it to the dialogue.
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
		allowed = min(allowed, lastWords) // a server that said 421 hangs up, or goes on at once
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

// ask gives the server what the dialogue has for it, or has the wait for its
// answer do so.
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

// readReply waits for a whole reply, however slowly it comes, but no longer
// than allowed for all of it. Replies that were read before are given to the
// client if this one does not follow soon.
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
		case repairs && isTimeout(err) && !s.now.Before(until): // the rules are asked again
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
		case !isTimeout(err) && !errors.Is(err, wire.ErrFull) && s.isCutOff(): // the last line is whole now
		case bad != nil: // what was waited for might have made a reply of it
			return nil, bad
		default:
			return nil, err
		}
	}
}

// nextReply is wholeReply once the rules have mended what is no whole reply, or
// more than one. quiet is for how long nothing more has come. If wait is not 0,
// the rules want to look again when more has come, or nothing more for so long;
// err is what is wrong then if they cannot mend it.
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

// isCutOff reports whether the rules have made a reply of what the server has said
// before it hung up.
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

// asAsked reports whether what is behind a reply are whole replies, no more than are
// awaited: they need no repair before they are first.
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

// doubtful reports whether rules look at a reply although it is whole: behind an EHLO
// reply of one line more may follow, a code without a blank behind it is no reply to
// some clients, and a goodbye is no yes to a command.
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

// maxRepairs bounds what rules may mend of a server's octets before more come.
const maxRepairs = 16

// errDropped says that nobody waited for a reply, and that the rules have dropped
// all that the server said.
var errDropped = errors.New("the server sent no reply that counts")

// unawaited reports whether the server has nothing to say now.
func (s *session) unawaited() bool {
	return s.dialogue.Awaited() == rewrite.VerbOther || s.dialogue.Next(false).OfMessage()
}

// dropUnasked has the rules drop what the server has said and nobody has asked
// for. It reports whether that was all.
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

// saidNothing waits for a moment for what the server has said unasked, and has
// the rules drop it. It reports whether that was all.
func (s *session) saidNothing() bool {
	if !s.route.Rules.Repairs() {
		return s.dropUnasked() // observed rules see it, and drop nothing
	}
	if len(s.server.Buffered()) == 0 {
		s.fill(s.server, s.now.Add(spokeWait)) // if that fails, the next read says why
	}
	return s.dropUnasked()
}

// lastWord gives the client what the server has said unasked before it hung up. It
// is false if that was no refusal and no goodbye, or if the server has not hung up.
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

// hungUp reports whether the server hangs up now.
func (s *session) hungUp() bool {
	for until := s.now.Add(hangsUpWithin); ; {
		if err := s.fill(s.server, until); err != nil {
			return !isTimeout(err) && !errors.Is(err, wire.ErrFull)
		}
	}
}

// hangsUpWithin is how soon a server that leaves hangs up after its last word.
const hangsUpWithin = 500 * time.Millisecond

// wholeReply takes a reply from what is buffered, if it is whole and within the
// limits.
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

// maxReply bounds a whole reply.
const maxReply = 64 << 10

// cut keeps what a peer said short enough for a log.
func cut(b []byte) []byte { return b[:min(len(b), 120)] }

// quoted is what the server said, cut, and without what may be a SASL challenge or
// repeat a credential.
func (s *session) quoted(v rewrite.Verb, b []byte) string {
	switch {
	case isAUTH(v), bytes.HasPrefix(b, []byte("334")), v == rewrite.VerbOther && s.dialogue.MayRepeatCredentials():
		return fmt.Sprintf("%q, of %d octets", rewrite.PlainWords(cut(b)), len(b))
	}
	return fmt.Sprintf("%q", cut(b))
}

// replied gives the dialogue a reply, or what came in its place.
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

// replyIs gives the dialogue a whole reply. A server that has not got all of a
// message cannot have taken it. What stands behind the reply is looked at once the
// client has it: the first reply is the answer, or a message that was delivered
// would be sent again.
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

// unknown counts a message whose final dot was sent and whose answer is lost:
// the server may have it (RFC 1047).
func (s *session) unknown() {
	s.messageOutcome(vocabulary.MessageUnknown)
	s.unsure = true
}

// badReply tells what was wrong with a reply, if that is the error.
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

// misspoke reports a server that has said what it may not.
func (s *session) misspoke(why vocabulary.BadReply) {
	if o := s.route.Observer; o != nil {
		o.BadReply(why)
	}
	s.failed(vocabulary.ServerProtocol)
}

// failed reports a server that failed us; not when we close everything.
func (s *session) failed(reason vocabulary.ServerFailure) {
	if s.route.Observer != nil && s.proxy.ending.Err() == nil {
		s.route.Observer.ServerFailed(reason)
	}
}
