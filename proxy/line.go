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

// command reads the client's next line and gives it to the dialogue.
func (s *session) command() error {
	if !s.dialogue.Parting() { // else keep what was being done when the session failed
		s.while = "waiting for a command"
	}
	if s.draining.Load() && s.dialogue.Idle() {
		return s.drained()
	}
	line, err := s.clientLine(s.commandLimit)
	switch {
	case err == errTooLong:
		if s.dialogue.TooLong(s.announces) {
			s.unfit(s.long, s.tooLong())
			s.client.Consume(len(line))
		}
		return nil
	case err != nil:
		return err
	case line == nil:
		return nil // the server sent something, or the proxy is draining
	}
	if s.pretends(line) {
		return s.unmask()
	}
	ahead := len(s.client.Buffered()) > len(line)
	if s.dialogue.Command(line, ahead) {
		if why := whyUnfit(line); why != nil {
			s.unfit(spelt(line), why)
		}
		s.client.Consume(len(line))
	}
	return nil
}

// saslLine reads the client's next line of an AUTH exchange and gives it to the dialogue.
func (s *session) saslLine() error {
	s.while = "waiting for a SASL line"
	limit := max(s.route.Limits.commandLine(), s.route.Limits.saslLine())
	line, err := s.clientLine(func([]byte) int { return limit })
	switch {
	case err == errTooLong:
		s.limited(vocabulary.LimitSASLLine)
		s.dialogue.SASL(nil)
		s.unfit(rewrite.VerbAUTH, errTooLongFor("a SASL line", "limits.sasl_line", limit))
		return nil
	case err != nil:
		return err
	case line == nil:
		return nil
	}
	s.dialogue.SASL(line)
	if why := whyUnfit(line); why != nil {
		s.unfit(rewrite.VerbAUTH, why)
	}
	s.client.Consume(len(line))
	return nil
}

// octets waits for the first octets after an AUTH exchange, at least four or a line, and gives
// them to the dialogue.
func (s *session) octets() error {
	s.while = "waiting for the first octets after AUTH"
	deadline := s.commandBy()
	for len(s.client.Buffered()) < 4 && s.client.Line() == nil {
		if ready, err := s.awaitClient(deadline); err != nil || !ready {
			return err
		}
	}
	s.idleUntil = 0
	b := s.client.Buffered()
	s.dialogue.Octets(b[:min(len(b), 16)])
	return nil
}

// errTooLong says that a line exceeds its limit. The line is returned with it, or what is
// left of the line.
var errTooLong = errors.New("line too long")

// clientLine waits for a line of the client. limit returns how many octets the line may
// have, given those that have come so far. If clientLine returns neither a line nor an
// error, something else has come first.
func (s *session) clientLine(limit func(b []byte) int) ([]byte, error) {
	deadline := s.commandBy()
	for {
		if line := s.client.Line(); line != nil {
			s.idleUntil = 0
			if len(line) > limit(line) {
				s.long, s.announces = spelt(line), rewrite.Announces(line)
				return line, errTooLong
			}
			return line, nil
		}
		if b := s.client.Buffered(); len(b) >= limit(b) {
			return s.dropLine(deadline)
		}
		if ready, err := s.awaitClient(deadline); err != nil || !ready {
			return nil, err
		}
	}
}

// dropLine reads and drops a line that is too long, up to its last part, which it returns. A
// client that sends more than maxDroppedLine octets without a line end does not speak SMTP:
// dropLine ends the session.
func (s *session) dropLine(deadline time.Time) ([]byte, error) {
	s.long, s.announces = spelt(s.client.Buffered()), rewrite.Announces(s.client.Buffered())
	for dropped := 0; dropped < maxDroppedLine; {
		if line := s.client.Line(); line != nil {
			return line, errTooLong
		}
		dropped += len(s.client.Buffered())
		s.client.Consume(len(s.client.Buffered()))
		if err := s.fill(s.client, deadline); err != nil && !s.client.Interrupted(err) {
			return nil, s.clientFailed(err)
		}
	}
	limit := vocabulary.LimitCommandLine
	if s.dialogue.Next(false) == rewrite.AwaitSASL {
		limit = vocabulary.LimitSASLLine
	}
	s.limited(limit)
	s.dialogue.Finish("421 4.7.0 line without an end")
	s.flushClient()
	return nil, s.over(vocabulary.OutcomeClientProtocol, errors.New("a line without an end"))
}

const maxDroppedLine = 1 << 20

// awaitClient flushes both sides and waits until the client has sent something. After
// watchAfter it also watches the server. ready is false if the server sent something first,
// or if the wait was interrupted because the proxy is draining.
func (s *session) awaitClient(limit time.Time) (ready bool, err error) {
	if err := s.flush(); err != nil {
		return false, err
	}
	quick := s.now.Add(watchAfter)
	if quick.After(limit) || s.server == nil {
		quick = limit
	}
	err = s.fill(s.client, quick)
	if err == nil {
		return true, nil
	}
	if s.client.Interrupted(err) {
		return false, nil
	}
	if !isTimeout(err) || quick == limit {
		return false, s.clientFailed(err)
	}
	return s.awaitBoth(limit)
}

// watchAfter is how long a client must be silent before the server is watched. A session
// that is busy then never pays for it.
const watchAfter = 100 * time.Millisecond

// awaitBoth waits until the client or the server sends something.
func (s *session) awaitBoth(limit time.Time) (ready bool, err error) {
	if s.server.Spoke() { // a wait would not see what TLS has read already
		return false, s.unasked(nil)
	}
	if s.waitIdle(limit) {
		return false, errIdle
	}
	defer s.offLoop()()
	w := wire.StartWatch(s.server, s.client.Interrupt)
	err = s.fill(s.client, limit)
	spoke, serverErr := w.Stop()
	switch {
	case spoke:
		return false, s.unasked(serverErr)
	case err == nil:
		return true, nil
	case s.client.Interrupted(err):
		return false, nil
	}
	return false, s.clientFailed(err)
}

// unasked handles what the server sent while the client's next line was awaited. If err is
// not nil, the server's connection failed instead.
func (s *session) unasked(err error) error {
	if err != nil {
		s.trouble(err)
		s.failed(vocabulary.ServerLost)
		s.dialogue.Lost()
		return nil
	}
	if s.saidNothing() {
		return nil
	}
	raw, err := s.readReply(min(lastWords, s.route.Timeouts.reply()))
	if err == nil && s.text.open && raw[0] >= '4' && !bytes.HasPrefix(raw, []byte("421")) {
		s.text.refusal = bytes.Clone(raw) // the reply to the next chunk
		s.closeServer()
		return nil
	}
	if err == errDropped || err == nil && s.dialogue.Outstanding() == 0 && s.lastWord() {
		return nil
	}
	return s.replied(raw, err)
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

// holdReplies is how long replies to a group of commands are held back while others of the
// group have not come. If these come in time, all are sent to the client in one write.
const holdReplies = 100 * time.Millisecond

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
		if wait > 0 && heard.Equal(s.now) { // octets have come; the turn of the loop may have begun long before
			s.now = s.proxy.clock()
			heard = s.now
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

// maxRepairs bounds how often the rules may repair what the server sent before more comes.
const maxRepairs = 16

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
	case verb == rewrite.VerbBDAT && raw[0] >= '4':
		s.chunkWasRefused()
	case verb == rewrite.VerbMAIL && raw[0] == '2':
		s.chunkRefused, s.sum.unanswered = false, 0
	}
	s.server.Consume(len(raw))
	s.answered = d.Outstanding() == 0
}
