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
		s.fill(s.server, s.proxy.clock().Add(spokeWait))
	}
	s.dropUnasked()
	b := s.server.Buffered()
	return len(b) > 0 && !bytes.HasPrefix(b, []byte("421"))
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
		s.fill(s.server, s.proxy.clock().Add(spokeWait)) // the next read returns the error, if any
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
	for until := s.proxy.clock().Add(hangsUpWithin); ; {
		if err := s.fill(s.server, until); err != nil {
			return !isTimeout(err) && !errors.Is(err, wire.ErrFull)
		}
	}
}

// hangsUpWithin is how soon after its last reply a server hangs up.
const hangsUpWithin = 500 * time.Millisecond

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

// unknown reports a message whose final dot was sent and whose reply is lost: the server may
// have accepted it (RFC 1047).
func (s *session) unknown() {
	s.messageOutcome(vocabulary.MessageUnknown)
	s.unsure = s.unsure || !s.chunkRefused
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
