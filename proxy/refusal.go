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

// A Refusal is the reply with which a client's mail was refused; Code 0: none was.
type Refusal struct {
	Verb string // of the command that it answers: "MAIL", "end-of-data", "greeting", ...
	Code int    // 4xx or 5xx
	// Text is the reply's first line behind the code, at most 200 octets of it. A
	// peer may have said it. It is "" where it may hold a credential.
	Text string
	// Means and Do say for people what it means and what to do about it, where that is
	// known; "" where it is not. No peer has said any of it.
	Means, Do string
}

// refusalText is how much of a reply's text is kept, in octets.
const refusalText = 200

// refusals follow which of a client's mail is refused.
//
// What is refused may be tried again, and pass. A refusal of the session (of the
// greeting, a hello, STARTTLS or AUTH) is over once MAIL is accepted. A refusal of a
// mail is over once that mail is accepted. A client that says MAIL again after MAIL
// was refused tries the same mail again; after RSET, or the answer to a message, it
// goes on with another. What was refused before a successful STARTTLS or AUTH counts
// as a refusal of the session. A MAIL that gets 530 where AUTH was refused is refused
// because of that, and does not count.
type refusals struct {
	noted *notedRefusals // nil: nothing was refused so far; a session that waits is no larger for it
}

type notedRefusals struct {
	session refusal // that still stands
	mail    refusal // of the mail that is being tried
	lost    refusal // of the last mail that the client has given up
	partial refusal // of a recipient whose message went to others
	each    refusal // the first of the replies to a message of LMTP that are there so far
	unfit   error   // why a line of the client's was no command; nil: none was, or it has tried again
}

// A refusal is a Refusal; code 0: none.
type refusal struct {
	verb rewrite.Verb
	code int
	text string
	why  provider.Meaning // as a login of ours has it; what a provider means is found out from the text
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

// standing is the refusal that matters at the end of a session: the last one that
// nothing has made up for.
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

// refusal is what the end of the session tells of: the refusal that still stands, if
// the session has failed, or else that of a recipient.
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

// replied takes a reply that the client got, and what is known of its reason. recipient,
// which it keeps, says whether one was accepted in this transaction.
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

// succeeded takes a positive completion reply to anything but MAIL and RCPT.
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

// refused takes a reply that refuses something. Where no mail depends on it, it
// does not count.
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

// decided reports whether the refusal of a command follows from an earlier one: of
// MAIL, of all recipients, or of an earlier chunk.
func (n *notedRefusals) decided(v rewrite.Verb, recipient bool) bool {
	switch n.mail.verb {
	case rewrite.VerbMAIL, rewrite.VerbBDAT:
		return true
	case rewrite.VerbRCPT:
		return v != rewrite.VerbRCPT && !recipient
	}
	return false
}

// giveUp notes that the client goes on without the mail that was refused. Where
// MAIL was refused because something has to come first, that still may.
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

// wantsAUTH reports whether MAIL was refused because AUTH was (RFC 4954, 6).
func (n *notedRefusals) wantsAUTH() bool {
	return n.mail.verb == rewrite.VerbMAIL && n.mail.code == 530 && isAUTH(n.session.verb)
}

// asksFirst reports whether a code refuses MAIL because another command has to come
// before it (RFC 5321, 4.2.2; RFC 4954, 6). IIS 4 and Exchange 5.5 use 505 for it
// (KB Q279214, KB Q181481).
func asksFirst(code int) bool { return code == 503 || code == 505 || code == 530 }

func isAUTH(v rewrite.Verb) bool {
	return v == rewrite.VerbAUTH || v == rewrite.VerbXAUTH || v == rewrite.VerbXEXPS
}

// unfit notes that the client got a reply of ours to a line that is no command, and
// why that is so. The reply is the last one in toClient.
func (r *refusals) unfit(v rewrite.Verb, toClient []byte, recipient bool, why error) {
	reply := bytes.TrimSuffix(toClient, []byte("\r\n"))
	reply = reply[bytes.LastIndexByte(reply, '\n')+1:]
	switch {
	case bytes.HasPrefix(reply, []byte("500 ")):
		r.refused(refusal{verb: v, code: 500}, reply[4:], recipient)
	case !bytes.HasPrefix(reply, []byte("421 ")): // one too many
		return
	}
	r.note().unfit = why
}

// spelt is the verb that a line begins with, though the line may be none.
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

// errTooLongFor is a line that is longer than a key of the configuration allows.
func errTooLongFor(what, key string, limit int) error {
	return fmt.Errorf("%s has over %d octets; a larger %s would allow it", what, limit, key)
}

var (
	errBareLF      = errors.New("a line of the client ends with LF alone; lf_ends would allow it, or, for a command, the rule command-ends")
	errManyCRs     = errors.New("a line of the client ends with CR CR LF; the rule command-ends would allow it")
	errStrayOctets = errors.New("a line of the client has a bare CR, a bare LF or a NUL in it, which nothing allows")
)

// unfit notes why a line of the client's, which has its answer, was no command.
func (s *session) unfit(v rewrite.Verb, why error) {
	s.refusals.unfit(v, s.dialogue.ToClient, s.recipient, why)
}

// whyUnfit says why a line of the client's is none (RFC 5321, 2.3.8); nil: it is one.
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

// conclude settles how the session ended when what was refused is taken into
// account: an outcome that says that all went well, or that the client hung up,
// does not hide that its mail was refused.
func (s *session) conclude() {
	switch s.outcome {
	case vocabulary.OutcomeOK, vocabulary.OutcomeSilent, vocabulary.OutcomeDrained:
		if s.refusals.standing().code != 0 {
			if s.outcome == vocabulary.OutcomeOK {
				s.while = "" // by QUIT, or in another orderly way, it came to its own end
			}
			s.outcome = vocabulary.OutcomeRefused
		}
	case vocabulary.OutcomeClientLost:
		// The client may have hung up in the middle of another mail.
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
