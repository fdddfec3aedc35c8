package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"smtpshim/proxy/provider"
	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// A Refusal is a reply that refused a client's mail or a recipient of it, or refused its
// session: the greeting, EHLO, HELO, LHLO, STARTTLS or AUTH. The zero Refusal, with the
// Code 0, means that there is none to report, even if the client got past one.
type Refusal struct {
	// Verb is the command that was refused, such as "MAIL". It is "end-of-data" for a
	// message, and "greeting" for a refusal in place of the greeting.
	Verb string
	Code int // 4xx or 5xx; 0: there is no refusal to report
	// Text is the first line of the reply after the code, cut to 200 octets. A peer may
	// have said it. It is "" if it may contain a credential.
	Text string
	// Means explains the reply for people, and Do says what to do about it. Both are "" if
	// no explanation is known. They contain nothing that a peer has said.
	Means, Do string
}

// refusalText bounds the text that is kept of a reply, in octets.
const refusalText = 200

// refusals records the refusals in a session, to find out at its end whether mail of the
// client was refused for good. A client may try again what was refused, and succeed:
//
//   - There are refusals of the session and refusals of a mail. A refusal of the greeting,
//     EHLO, HELO, LHLO, STARTTLS or AUTH is one of the session. It no longer counts once
//     MAIL is accepted.
//   - A refusal of a mail no longer counts once that mail is accepted.
//   - A client that says MAIL after MAIL was refused tries the same mail again. After RSET,
//     or the reply to a message, it begins another mail.
//   - If STARTTLS or AUTH succeeds, the last refusal of a mail before it counts as one of
//     the session.
//   - If AUTH was refused, and MAIL gets 530 for that reason, the refusal of MAIL does not
//     count.
type refusals struct {
	// noted is nil while nothing was refused. It is a pointer so that most sessions stay
	// small.
	noted *notedRefusals
}

type notedRefusals struct {
	session refusal // the refusal of the session that still counts
	mail    refusal // the refusal of the present mail
	lost    refusal // the refusal of the last mail that the client has given up
	partial refusal // the refusal of a recipient whose message other recipients got
	each    refusal // LMTP: the first refusal among the replies so far to the present message
	unfit   error   // why a line was no command; nil: none, or the client has tried again
}

// A refusal is the internal form of a Refusal. If code is 0, there is none.
type refusal struct {
	verb rewrite.Verb
	code int
	text string
	why  provider.Meaning // as our login explains it; else package provider explains the text
}

func (r refusal) exported() Refusal {
	if r.code == 0 {
		return Refusal{}
	}
	why := r.why
	if why.Means == "" {
		why, _ = provider.Explain(r.code, r.text)
	}
	return Refusal{r.verb.String(), r.code, r.text, why.Means, why.Do}
}

// standing returns the refusal that counts if the session ends now: the last one after which
// the client did not succeed.
func (r *refusals) standing() refusal {
	switch n := r.noted; {
	case n == nil:
		return refusal{}
	case n.wantsAUTH():
		return n.session
	case n.mail.code != 0:
		return n.mail
	case n.session.code != 0:
		return n.session
	default:
		return n.lost
	}
}

// refusal returns the refusal to report at the end of the session. If the session has failed,
// that is the refusal that still counts, else the refusal of a recipient.
func (s *session) refusal() Refusal {
	last := s.refusals.standing()
	switch {
	case s.refusals.noted == nil:
		return Refusal{}
	case s.outcome.Failed() && last.code != 0:
		return last.exported()
	}
	return s.refusals.noted.partial.exported()
}

// replied records a reply that the client got. why is what is known of its reason. replied
// keeps *recipient up to date: whether a recipient was accepted in the present transaction.
func (r *refusals) replied(v rewrite.Verb, code int, text []byte, why provider.Meaning, recipient *bool) {
	switch {
	case code >= 400:
		r.refused(refusal{verb: v, code: code, why: why}, text, *recipient)
	case v == rewrite.VerbRCPT:
		*recipient = true
	case v == rewrite.VerbMAIL:
		*recipient = false
		if n := r.noted; n != nil {
			if n.mail.verb != rewrite.VerbMAIL {
				n.giveUp()
			}
			n.mail, n.session, n.unfit = refusal{}, refusal{}, nil
		}
	case r.noted != nil && code < 300:
		r.noted.succeeded(v)
	}
}

// succeeded records a positive completion reply to anything but MAIL and RCPT.
func (n *notedRefusals) succeeded(v rewrite.Verb) {
	switch v {
	case rewrite.VerbMessage:
		if n.mail.verb == rewrite.VerbRCPT {
			n.partial = n.mail
		}
		n.mail, n.session = refusal{}, refusal{}
	case rewrite.VerbRSET:
		n.giveUp()
	case rewrite.VerbEHLO, rewrite.VerbHELO, rewrite.VerbLHLO:
		n.unfit = nil
		if n.mail.verb != rewrite.VerbMAIL {
			n.giveUp()
		}
		switch n.session.verb {
		case rewrite.VerbGreeting, rewrite.VerbEHLO, rewrite.VerbHELO, rewrite.VerbLHLO:
			n.session = refusal{}
		}
	case rewrite.VerbAUTH, rewrite.VerbXAUTH, rewrite.VerbXEXPS, rewrite.VerbSTARTTLS, rewrite.VerbAnonymousTLS:
		if n.session.verb == v || isAUTH(n.session.verb) && isAUTH(v) {
			n.session = refusal{}
		}
		n.giveUp()
		if n.lost.code != 0 {
			n.session, n.lost = n.lost, refusal{}
		}
	}
}

// refused records a reply that refuses something. A refusal of a command on which no mail
// depends does not count.
func (r *refusals) refused(last refusal, text []byte, recipient bool) {
	switch v := last.verb; v {
	case rewrite.VerbMAIL:
		n := r.note()
		n.mail, n.unfit = last.with(text), nil
	case rewrite.VerbRCPT, rewrite.VerbDATA, rewrite.VerbBDAT:
		if n := r.note(); !n.decided(v, recipient) {
			n.mail = last.with(text)
		}
	case rewrite.VerbMessage:
		n := r.note()
		n.mail = last.with(text)
		n.giveUp()
	case rewrite.VerbGreeting, rewrite.VerbEHLO, rewrite.VerbHELO, rewrite.VerbLHLO, rewrite.VerbSTARTTLS, rewrite.VerbAnonymousTLS,
		rewrite.VerbAUTH, rewrite.VerbXAUTH, rewrite.VerbXEXPS:
		n := r.note()
		n.session, n.unfit = last.with(text), nil
	}
}

func (r refusal) with(text []byte) refusal {
	r.text = string(text[:min(len(text), refusalText)])
	return r
}

func (r *refusals) note() *notedRefusals {
	if r.noted == nil {
		r.noted = &notedRefusals{}
	}
	return r.noted
}

// decided reports whether the refusal of a command follows from an earlier refusal: of MAIL,
// of all recipients, or of an earlier chunk.
func (n *notedRefusals) decided(v rewrite.Verb, recipient bool) bool {
	switch n.mail.verb {
	case rewrite.VerbMAIL, rewrite.VerbBDAT:
		return true
	case rewrite.VerbRCPT:
		return v != rewrite.VerbRCPT && !recipient
	}
	return false
}

// giveUp records that the client has given up the mail that was refused. If MAIL was refused
// because another command has to come first, that command may still come: the refusal
// becomes one of the session.
func (n *notedRefusals) giveUp() {
	switch {
	case n.mail.code == 0:
		return
	case n.wantsAUTH():
	case n.mail.verb == rewrite.VerbMAIL && asksFirst(n.mail.code):
		n.session, n.unfit = n.mail, nil
	default:
		n.lost = n.mail
	}
	n.mail = refusal{}
}

// wantsAUTH reports whether MAIL was refused because AUTH was refused before (RFC 4954, 6).
func (n *notedRefusals) wantsAUTH() bool {
	return n.mail.verb == rewrite.VerbMAIL && n.mail.code == 530 && isAUTH(n.session.verb)
}

// asksFirst reports whether a code refuses MAIL because another command has to come before it
// (RFC 5321, 4.2.2; RFC 4954, 6). IIS 4 and Exchange 5.5 use 505 for this (KB Q279214, KB
// Q181481).
func asksFirst(code int) bool { return code == 503 || code == 505 || code == 530 }

func isAUTH(v rewrite.Verb) bool {
	return v == rewrite.VerbAUTH || v == rewrite.VerbXAUTH || v == rewrite.VerbXEXPS
}

// unfit records that the client got our reply to a line that is no command, and why it is
// none. The reply is the last one in toClient.
func (r *refusals) unfit(v rewrite.Verb, toClient []byte, recipient bool, why error) {
	reply := bytes.TrimSuffix(toClient, []byte("\r\n"))
	reply = reply[bytes.LastIndexByte(reply, '\n')+1:]
	switch {
	case bytes.HasPrefix(reply, []byte("500 ")):
		r.refused(refusal{verb: v, code: 500}, reply[4:], recipient)
	case !bytes.HasPrefix(reply, []byte("421 ")): // 421 says that there were too many errors
		return
	}
	r.note().unfit = why
}

// spelt returns the verb with which a line begins, even if the line is no command.
func spelt(line []byte) rewrite.Verb {
	word := line[:min(len(line), len("X-ANONYMOUSTLS")+1)]
	if end := bytes.IndexAny(word, " \t=:\r\n\x00"); end >= 0 {
		word = word[:end]
	}
	for v := rewrite.VerbEHLO; int(v) < len(verbNames); v++ {
		if strings.EqualFold(string(word), verbNames[v]) {
			return v
		}
	}
	return rewrite.VerbOther
}

// errTooLongFor says that a line is longer than a key of the configuration allows.
func errTooLongFor(what, key string, limit int) error {
	return fmt.Errorf("%s has over %d octets; a larger %s would allow it", what, limit, key)
}

var (
	errBareLF      = errors.New("a line of the client ends with LF alone; lf_ends would allow it, or, for a command, the rule command-ends")
	errManyCRs     = errors.New("a line of the client ends with CR CR LF; the rule command-ends would allow it")
	errStrayOctets = errors.New("a line of the client has a bare CR, a bare LF or a NUL in it, which nothing allows")
)

// unfit records why a line of the client was no command. The dialogue has replied to it.
func (s *session) unfit(v rewrite.Verb, why error) {
	s.refusals.unfit(v, s.dialogue.ToClient, s.recipient, why)
}

// whyUnfit returns why what the client sent is not a line (RFC 5321, 2.3.8); nil: it is one.
func whyUnfit(line []byte) error {
	text, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok {
		text = bytes.TrimSuffix(text, []byte("\n"))
	}
	bare := bytes.TrimRight(text, "\r")
	switch {
	case ok && len(bare) < len(text) && !bytes.ContainsAny(bare, "\r\n\x00"):
		return errManyCRs
	case bytes.IndexByte(text, '\r') >= 0, bytes.IndexByte(text, '\n') >= 0, bytes.IndexByte(text, 0) >= 0:
		return errStrayOctets
	case !ok:
		return errBareLF
	}
	return nil
}

// conclude makes the outcome "refused" if mail of the client was refused and the outcome so
// far says that all went well, or that the client hung up. If a session has failed, conclude
// also adds to its error why a line of the client was no command.
func (s *session) conclude() {
	switch s.outcome {
	case vocabulary.OutcomeOK, vocabulary.OutcomeSilent, vocabulary.OutcomeDrained:
		if s.refusals.standing().code != 0 {
			if s.outcome == vocabulary.OutcomeOK {
				s.while = "" // the client ended the session in an orderly way
			}
			s.outcome = vocabulary.OutcomeRefused
		}
	case vocabulary.OutcomeClientLost:
		// If the client hung up within another mail, that is the outcome.
		n := s.refusals.noted
		if n != nil && s.refusals.standing().code != 0 && (n.mail.code != 0 && !s.dialogue.Next(false).OfMessage() || !s.dialogue.Mailing()) {
			s.outcome = vocabulary.OutcomeRefused
		}
	}
	if n := s.refusals.noted; n != nil && n.unfit != nil && s.outcome.Failed() {
		if s.err != nil {
			s.err = fmt.Errorf("%w; before that %w", s.err, n.unfit)
		} else {
			s.err = n.unfit
		}
	}
}
