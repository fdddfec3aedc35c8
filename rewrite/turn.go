package rewrite

import (
	"net/netip"
	"strings"
)

// A Turn is one command of the client's and what becomes of it, as the rules
// see it.
type Turn struct {
	d     *Dialogue
	verb  Verb
	said  []byte // the client's line
	line  []byte // what goes to the server in its place
	reply Reply
	raw   []byte // the reply as it came
	lost  bool   // the server hung up instead of a reply

	held     bool // nothing else is sent until the client has its reply
	stage    stage
	commands int    // said to the server because of a rule
	fresh    int    // connections made because of a rule
	sasl     bool   // the server's 334 was passed on, or answered: nothing is said again
	spoken   Verb   // what the server was told last, if that was no SASL line
	pending  bool   // the server's last answer was a 334: what is said next is a SASL line
	withheld []byte // the EHLO reply from before STARTTLS; nil: none
	traced   bool   // the tracer knows what the client said

	xclient    []string // commands that are still to be said
	introduced bool     // XCLIENT was said, or EHLO for its sake

	answered Reply  // the client's reply, made by a rule; Code 0: none
	first    string // to be said to the server before the line
	again    string // to be said to the server instead of giving the reply
	afresh   bool   // on a fresh connection
	rule     int    // the one that is running

	applied ruleSet // all that departed, to be counted when the client has its reply
	lineBy  ruleSet // who changed the line, had something said first or again, changed the reply
	firstBy ruleSet
	againBy ruleSet
	replyBy ruleSet
}

// stage is what a held turn waits for.
type stage uint8

const (
	stageSaid     stage = iota // the reply to the line
	stageFirst                 // the reply to what a rule had said first
	stageFresh                 // a fresh connection
	stageHello                 // the reply to our EHLO, before TLS
	stageStartTLS              // the reply to our STARTTLS
	stageTLS                   // the handshake with the server
	stageRepeat                // the reply to our EHLO after it
	stageXCLIENT               // the reply to our XCLIENT
	stageData                  // the reply to the DATA that a first chunk begins
)

// A command of the client's may cost this many commands and connections that
// rules ask for. XAUTH has five plausible forms.
const (
	maxAgain = 4 // with the command itself: five
	maxFresh = 2
)

// Verb is the verb of the client's command.
func (t *Turn) Verb() Verb { return t.verb }

// Said is the client's line as it came, and Line what goes to the server.
func (t *Turn) Said() string { return string(t.said) }
func (t *Turn) Line() string { return string(t.line) }

// SetLine changes what goes to the server.
func (t *Turn) SetLine(line string) { t.line = append(t.line[:0:0], line...) }

// Hold says that the reply has to be seen before anything else is sent.
func (t *Turn) Hold() { t.held = true }

// Answer gives the client this reply, and the server nothing.
func (t *Turn) Answer(r Reply) { t.answered = r }

// First has another command said before the line; its reply is swallowed.
func (t *Turn) First(line string) { t.first, t.held = line, true }

// Reply is the server's reply as the rules before have left it.
func (t *Turn) Reply() *Reply { return &t.reply }

// Lost says that the server hung up instead of a reply.
func (t *Turn) Lost() bool { return t.lost }

// Again has another line said in place of this one and its reply awaited; the
// client does not see this reply. After a 334 the line is a SASL line.
func (t *Turn) Again(line string) { t.again, t.afresh = line, false }

// AgainAfresh is Again on a fresh connection.
func (t *Turn) AgainAfresh(line string) { t.again, t.afresh = line, true }

// Fresh is how often a fresh connection was made for this turn.
func (t *Turn) Fresh() int { return t.fresh }

// Challenged says that the client has seen a 334 of this exchange.
func (t *Turn) Challenged() bool { return t.sasl }

// Offers says whether the server's EHLO reply offers all of these.
func (t *Turn) Offers(k Keyword) bool { return t.d.server.offers&k == k }

// ServerTLS says whether the connection to the server is encrypted.
func (t *Turn) ServerTLS() bool { return t.d.server.tls }

// HelloOwed says that the client began TLS and has not said EHLO since.
func (t *Turn) HelloOwed() bool { return t.d.seen.helloOwed }

// Hello is the last EHLO or HELO that the server got; "" if none.
func (t *Turn) Hello() string { return string(t.d.hello) }

// Client is the client's address; it may be invalid.
func (t *Turn) Client() netip.Addr { return t.d.client }

// Hostname is our own name.
func (t *Turn) Hostname() string { return t.d.policy.Hostname }

// Untouched says that nothing has been done in this session that could be done
// twice: no AUTH and no MAIL was accepted.
func (t *Turn) Untouched() bool {
	return !t.d.seen.authenticated && t.d.seen.mails == 0 && t.d.seen.messages == 0
}

// Note and SetNote are a rule's memory for this session; it begins at 0.
func (t *Turn) Note() uint8     { return t.d.notes[t.rule] }
func (t *Turn) SetNote(n uint8) { t.d.notes[t.rule] = n }

// reset makes the turn ready for another command.
func (t *Turn) reset(d *Dialogue, v Verb, line []byte) {
	*t = Turn{d: d, verb: v, said: append(t.said[:0], line...)}
	t.line = t.said
}

// mayRepeat says whether nothing can be done twice by saying it again.
func (t *Turn) mayRepeat() bool {
	switch {
	case t.sasl:
		return false
	case t.verb == VerbMAIL:
		return t.Untouched()
	}
	return alone.has(t.verb)
}

// runCommand has the rules see the client's command, first to last.
func (t *Turn) runCommand() {
	rules := t.d.policy.Rules.active()
	for i := range rules {
		r := &rules[i]
		if r.command == nil || !r.commandVerbs.has(t.verb) && !(t.d.seen.helloOwed && r.owedVerbs.has(t.verb)) {
			continue
		}
		line, first, held := t.line, t.first, t.held
		t.rule = i
		r.command(t)
		changed := string(t.line) != string(line)
		if !isLine(t.line) || len(t.line) == 0 && len(line) > 0 || !validReply(t.answered) || t.answered.Code/100 == 3 || strings.ContainsAny(t.first, "\r\n\x00") {
			t.line, t.first, t.held, t.answered = line, first, held, Reply{}
			t.d.listener.Broke(r.name)
			continue
		}
		switch {
		case t.answered.Code != 0:
			t.replyBy.add(i)
			t.applied.add(i)
			return
		case t.first != first:
			t.firstBy.add(i)
			t.applied.add(i)
		case changed:
			t.lineBy.add(i)
			t.applied.add(i)
		}
	}
}

// runReply has the rules see the server's reply, last to first.
func (t *Turn) runReply() {
	rules := t.d.policy.Rules.active()
	t.replyBy = 0
	for i := len(rules) - 1; i >= 0; i-- {
		r := &rules[i]
		if r.reply == nil || !r.replyVerbs.has(t.verb) && (t.reply.Code < 400 || !r.refusalVerbs.has(t.verb)) {
			continue
		}
		before := Reply{t.reply.Code, append(t.d.scratch[:0], t.reply.Lines...)}
		t.d.scratch = before.Lines
		t.rule = i
		r.reply(t)
		if t.again != "" && (strings.ContainsAny(t.again, "\r\n\x00") || !t.mayRepeat()) {
			t.again = ""
			t.d.listener.Broke(r.name)
		}
		if t.again != "" {
			t.againBy = 0
			t.againBy.add(i)
			t.applied.add(i)
			return
		}
		if t.reply.equal(before) {
			continue
		}
		if !validReply(t.reply) || t.reply.Code < 400 && t.reply.Code/100 != before.Code/100 {
			t.reply = before.clone()
			t.d.listener.Broke(r.name)
			continue
		}
		t.replyBy.add(i)
		t.applied.add(i)
	}
}

// by says on whose account the turn says what it says to the server now.
func (t *Turn) by() ruleSet {
	switch {
	case t.stage == stageFirst, t.stage == stageData:
		return t.firstBy
	case t.commands > 0:
		return t.againBy
	case t.stage == stageSaid:
		return t.lineBy
	}
	return 0
}

// validReply says whether a rule's reply can be sent: promise 3 is checked by
// the caller. The zero Reply is none, and valid.
func validReply(r Reply) bool {
	if r.Code == 0 {
		return true
	}
	if r.Code < 200 || r.Code > 599 || len(r.Lines) == 0 {
		return false
	}
	for _, text := range r.Lines {
		if len(text) > maxReplyText || strings.ContainsAny(text, "\r\n\x00") {
			return false
		}
	}
	return true
}

// maxReplyText bounds what a rule may make of one line of a reply.
const maxReplyText = 4096
