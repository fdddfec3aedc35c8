package rewrite

import (
	"bytes"
	"slices"
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// A Witness is a Listener that is also told what the rules of [Policy.Observed] would do.
type Witness interface {
	Listener
	// Would reports a change that rule would have made. line is the command, or the
	// first line of the reply, that rule would have changed, as the peer has sent it: it
	// may contain any octet. What may be secret in it is replaced by its length. line is
	// "" if there is no such line, as for a message, or if all of it may be secret.
	Would(rule, line string)
}

// An observation computes what the rules of Policy.Observed would do in a dialogue. The
// rules run on a shadow, a second dialogue that receives no input. Before each stage the
// shadow gets the state of the real dialogue. The changes that rules make to a line or a
// reply are counted and discarded. The real dialogue does not know these rules, so it
// cannot act on them.
//
// Within one line or reply, each rule sees the result of the rules before it. No rule
// sees what its own change would have led to, such as the reply to a line that was not
// sent.
type observation struct {
	d, shadow *Dialogue
	witness   Witness // nil: nobody wants to be told

	begun begun                 // for the command being taken
	turn  begun                 // for the command whose turn is held
	marks [maxGroup + 2]markSet // for the commands in Dialogue.sent, by index
	first bool                  // a command has come, so that the client's first octets are known

	offered bool    // offer is set
	offer   Reply   // the server's last EHLO reply, as the observed rules would have left it
	offerBy ruleSet // the rules that would have changed it

	line   string // the line that the rules look at
	quiet  bool   // suppress the shadow's events, which did not happen
	mended bool   // the awaited reply would have been mended; it is counted once

	rest  []byte // octets of a message that the shadow cannot judge yet
	ended bool   // the message would have ended
}

// A begun is what observed rules would do to a command.
type begun struct {
	by, recallBy ruleSet
	line         string
	marks        markSet
	diverged     bool // the rules would have led the AUTH exchange elsewhere
}

// A markSet says what observed rules would have done to a command, for judging its reply.
type markSet uint8

const (
	wouldHold   markSet = 1 << iota // nothing else would be sent before the reply
	wouldAnswer                     // the command would not be sent to the server
	wouldHurry                      // the server would have less time than the route allows
)

// observe returns the observation of a new dialogue; nil if its policy has no observed
// rules.
func observe(d *Dialogue) *observation {
	p := d.policy
	if p.Observed == nil {
		return nil
	}
	o := &observation{d: d}
	o.witness, _ = d.listener.(Witness)
	policy := *p
	policy.Rules, policy.Observed, policy.Turns = p.Observed, nil, nil
	hearer := overheard{o}
	o.shadow = &Dialogue{policy: &policy, client: d.client, listener: hearer, tracer: &tracer{Tracer: hearer}}
	o.shadow.reach = policy.Rules.newReach(d.client)
	return o
}

// look copies the state of the dialogue to the shadow. The server's offer is replaced by
// what the observed rules would have made of it, and the rules keep states of their own.
func (o *observation) look() *Dialogue {
	d, s := o.d, o.shadow
	s.client, s.origin, s.hello, s.secrets, s.next = d.client, d.origin, d.hello, d.secrets, d.next
	s.sent, s.refusal, s.spent, s.inText = d.sent, d.refusal, d.spent, d.inText
	s.seen, s.recipients, s.chunk, s.access = d.seen, d.recipients, d.chunk, d.access
	s.introduces = d.introduces
	s.server = d.server
	if o.offered && esmtp.Has(d.server.hello) {
		s.server.offer, s.server.packed = o.offer.clone(), ""
		s.server.known = Extensions{reply: &s.server.offer}.known()
	}
	o.line = ""
	return s
}

// shadowOf returns the shadow; nil if there is no observation.
func (o *observation) shadowOf() *Dialogue {
	if o == nil {
		return nil
	}
	return o.shadow
}

// turnOf returns a turn of the shadow that corresponds to t, a held turn of the dialogue.
func (o *observation) turnOf(t *Turn) *Turn {
	st := o.look().newTurn(t.verb, t.said)
	st.line, st.held, st.recallBy = t.line, true, o.turn.recallBy
	st.step, st.sasl, st.pending, st.spoken = t.step, t.sasl, t.pending, t.spoken
	st.fresh, st.commands = t.fresh, t.commands
	return st
}

// command runs the observed rules on a line of the client, before the dialogue handles
// it. It may be called again for the same line.
func (o *observation) command(line, raw []byte, isLine bool) {
	if o == nil {
		return
	}
	s := o.look()
	o.begun = begun{}
	if !o.first && IsTLS(raw) {
		o.quiet = true
		s.Open(raw[:min(len(raw), 3)], true)
		s.seen.tls, o.quiet = o.d.seen.tls, false
	}
	o.first = true
	v := VerbOther
	if isLine {
		v = ParseVerb(line)
	}
	s.commandTells(v)
	o.begun.line = s.redacted(ParseVerb(line), line)
	if !isLine || badBDAT(line) {
		_, o.begun.by = s.runLine(raw)
		return
	}
	if _, refusal := s.exceeds(v, line); refusal != "" || misspelt(v, isLine, line) || s.ownMatter(v, isLine) {
		return
	}
	if _, refusal := s.forbids(v, line); refusal != "" {
		return
	}
	if hello.Has(v) {
		s.helloIs(line)
	}
	t := s.newTurn(v, line)
	t.held = alone.Has(v)
	if s.policy.Rules.seesCommand(v, s.seen.helloOwed) {
		t.runCommand()
	}
	o.begun.by, o.begun.recallBy = t.applied, t.recallBy
	o.begun.marks = t.marks()
	o.begun.diverged = o.begun.marks&wouldAnswer != 0
	o.turn = o.begun
}

// marks returns the marks of the turn's command.
func (t *Turn) marks() (m markSet) {
	if t.held {
		m |= wouldHold
	}
	if t.answered.Code != 0 || t.swallow || t.asData {
		m |= wouldAnswer
	}
	if t.within > 0 {
		m |= wouldHurry
	}
	return m
}

// taken counts what observed rules would have done to the command that was just taken.
func (o *observation) taken() {
	if o != nil {
		o.count(o.begun.by, o.begun.line)
		o.begun.by = ruleSet{}
	}
}

// sends records that the command being taken was sent to the server.
func (o *observation) sends() {
	if o != nil {
		o.marks[o.d.sent.place(int(o.d.sent.n)-1)] = o.begun.marks
	}
}

// sendsMessage records that the end of a message was sent to the server.
func (o *observation) sendsMessage() {
	if o != nil {
		o.marks[o.d.sent.place(int(o.d.sent.n)-1)] = 0
	}
}

// oldest returns the marks of the command whose reply comes next.
func (o *observation) oldest() markSet {
	if o == nil {
		return 0
	}
	return o.marks[o.d.sent.head]
}

// reply runs the observed rules on a reply to a command that is not held.
func (o *observation) reply(v Verb, said, line, raw []byte, marks markSet) {
	if o == nil {
		return
	}
	o.mended = false
	if marks&wouldAnswer != 0 || !o.shadow.policy.Rules.seesRaw(v, raw) {
		return
	}
	t := o.look().newTurn(v, said)
	t.line, t.raw, t.reply, t.held = line, raw, parseReply(raw), marks&wouldHold != 0
	t.runReply()
	if t.repeats || !t.reply.equal(parseReply(raw)) {
		o.count(t.applied, t.d.firstLine(v, raw))
	}
	o.forgets(t)
}

// learns runs the rules' Offer functions on an EHLO reply.
func (o *observation) learns(r *Reply) {
	if o == nil {
		return
	}
	s := o.look()
	s.server.offer, s.server.packed = r.clone(), ""
	s.offerTells(s.server.offer.Lines)
	o.offerBy = s.runOffer(&s.server.offer, new(causes))
	o.offer, o.offered = s.server.offer.clone(), true
}

// heldReply runs the observed rules on a reply that a held turn is about to give the
// client.
func (o *observation) heldReply(t *Turn, raw []byte) {
	if o == nil {
		return
	}
	if o.mended = false; o.turn.marks&wouldAnswer != 0 || o.turn.diverged {
		return
	}
	st := o.turnOf(t)
	st.raw, st.reply = raw, parseReply(raw)
	came := st.reply.clone()
	if st.offersExtensions() && o.offered {
		st.reply, st.applied = o.offer.clone(), o.offerBy
	}
	if !st.recallBy.empty() && hello.Has(t.verb) && refusesSecond(came.Code) && st.mayRecall(t.verb) {
		o.count(st.recallBy, st.d.firstLine(t.verb, raw))
		return
	}
	st.runReply()
	if st.repeats || !st.applied.empty() && !st.reply.equal(came) {
		o.count(st.applied, st.d.firstLine(t.verb, raw))
	}
	o.turn.diverged = o.turn.diverged || sasl.Has(t.verb) && st.repeats
	o.forgets(st)
}

// says runs the observed rules on a line of the client in an AUTH exchange.
func (o *observation) says(t *Turn, line []byte) {
	if o == nil || o.turn.diverged {
		return
	}
	st := o.turnOf(t)
	st.line = line
	st.runSASL()
	o.count(st.applied, hidden(len(line)))
	o.turn.diverged = st.answered.Code != 0 || st.swallow
}

// mendsSASL runs the observed rules on a malformed line in an AUTH exchange.
func (o *observation) mendsSASL(raw []byte) {
	if o != nil {
		_, by := o.look().runLine(raw)
		o.count(by, hidden(len(raw)))
	}
}

// heldLoss runs the observed rules on the loss of the server in place of a reply to a
// held turn.
func (o *observation) heldLoss(t *Turn) {
	if o == nil || t.sasl || o.turn.marks&wouldAnswer != 0 || !o.shadow.policy.Rules.seesLoss(t.verb) {
		return
	}
	o.loses(o.turnOf(t))
}

// loss runs the observed rules on the loss of the server in place of the next reply, if
// they would have seen it. silent reports that the server is not lost, but has not
// replied in time.
func (o *observation) loss(silent bool) {
	if o == nil || o.d.sent.n == 0 {
		return
	}
	d, marks := o.d, o.oldest()
	if d.holds() {
		marks = o.turn.marks
	}
	if silent && marks&wouldHurry == 0 || marks&wouldHold == 0 || marks&wouldAnswer != 0 || !o.shadow.policy.Rules.seesLoss(d.sent.first()) {
		return
	}
	if d.holds() {
		if silent { // a held turn calls heldLoss itself if the server is lost
			st := o.turnOf(d.turn)
			st.silent = true
			o.loses(st)
		}
		return
	}
	queue := d.sent
	v, said, line := queue.pop()
	st := o.look().newTurn(v, said)
	st.line, st.held, st.silent = line, true, silent
	o.loses(st)
}

func (o *observation) loses(t *Turn) {
	line := t.d.redacted(t.verb, t.said)
	t.lost, t.reply = true, Reply{}
	t.runReply()
	o.count(t.applied, line)
	o.forgets(t)
}

// repair runs the observed rules on octets that are not a well-formed reply. If the
// octets are the beginning of a reply, the result says after how many quiet milliseconds
// to ask again. If they are no reply, the session ends; repair then runs the rules as if
// nothing more had come.
func (o *observation) repair(of Repair) (wait int64) {
	if o == nil || o.mended || len(of.octets) == 0 {
		return 0
	}
	s := o.look()
	scan, err := ScanReply(of.octets)
	isPart := err == nil && scan.N == 0 && !of.closed
	if i := bytes.IndexByte(of.octets, '\n'); i >= 0 && !s.MayRepeatCredentials() {
		o.line = s.firstLine(s.Awaited(), of.octets)
	}
	o.quiet = true
	defer func() { o.quiet = false }()
	for {
		_, _, ok, wait := s.repair(of)
		switch {
		case ok:
			o.mended = true
			return 0
		case isPart:
			return wait
		case err == nil || wait <= of.quiet || wait > maxRepairQuiet:
			return 0
		}
		of.quiet = wait
	}
}

// text passes octets of a message, as the client sent them, to the filters of the
// observed rules.
func (o *observation) text(src []byte) {
	if o == nil || o.ended || o.shadow.policy.Rules.messages == 0 {
		return
	}
	s := o.shadow
	if s.text == nil {
		s = o.look()
		o.rest = o.rest[:0]
	}
	m := s.Text()
	if len(m.filters) == 0 && !m.reader.LF {
		return
	}
	if len(o.rest) > 0 {
		src = append(o.rest, src...)
	}
	for len(src) > 0 && !o.ended {
		_, n, end := m.Next(nil, src[:min(len(src), pieceSize)])
		if n == 0 {
			break
		}
		src, o.ended = src[n:], end
	}
	o.rest = append(o.rest[:0], src...)
}

// endText counts what observed rules would have done to a message.
func (o *observation) endText() {
	if o == nil {
		return
	}
	o.line, o.quiet = "", true
	o.shadow.endText()
	o.shadow.spare, o.rest, o.ended, o.quiet = nil, nil, false, false
}

// forgets drops the states of rules that would have sent a line again, because nobody
// knows how the server would have replied.
func (o *observation) forgets(t *Turn) {
	if !t.repeats {
		return
	}
	s := o.shadow
	t.againBy.each(func(i int) {
		rules := s.policy.Rules.rules
		s.states = slices.DeleteFunc(s.states, func(kept ruleState) bool { return rules[kept.rule].name == rules[i].name })
	})
}

// count reports what rules would have done to a line.
func (o *observation) count(by ruleSet, line string) {
	if !by.empty() {
		o.line = line
		o.shadow.departed(by)
	}
}

// firstLine returns the first line of a reply, without secrets.
func (d *Dialogue) firstLine(v Verb, raw []byte) string {
	line, _, _ := bytes.Cut(raw, crlf)
	line, _, _ = bytes.Cut(line, crlf[1:])
	texts := d.lines(nil, 'S', v, slices.Clone(line))
	if len(texts) == 0 {
		return ""
	}
	return texts[0]
}

// overheard is the listener of the shadow. What a rule applies there is reported as what
// it would apply.
type overheard struct{ o *observation }

func (h overheard) Command(Verb)                                                                {}
func (h overheard) Replied(Verb, int, []byte)                                                   {}
func (h overheard) Limited(vocabulary.Limit)                                                    {}
func (h overheard) Exchanged(byte, []string, []string, Causes)                                  {}
func (h overheard) Authenticated(vocabulary.Side, vocabulary.Mechanism, vocabulary.AuthOutcome) {}

func (h overheard) Applied(rule string) {
	h.o.d.event("would: " + rule)
	if h.o.witness != nil {
		h.o.witness.Would(rule, h.o.line)
	}
}

// Broke passes on to the listener that rule has panicked, if why says so. It ignores a
// result that is not allowed. An observed rule runs in a session that has not done what
// the rule wanted, so such a result need not be a mistake of the rule.
func (h overheard) Broke(rule, why string) {
	if strings.HasPrefix(why, panicPrefix) {
		h.o.d.listener.Broke(rule, why)
	}
}

func (h overheard) Event(what string) {
	if !h.o.quiet {
		h.o.d.event(what)
	}
}

// An apprentice is the memory of a server for observed rules. They see what rules in
// force have stored; rules in force do not see what they store.
type apprentice struct{ Memory }

const observedPrefix = "observed "

func (a apprentice) Remember(key string, seconds int) { a.Memory.Remember(observedPrefix+key, seconds) }
func (a apprentice) Remembers(key string) bool {
	return a.Memory.Remembers(key) || a.Memory.Remembers(observedPrefix+key)
}

// serves implements [Dialogue.Serves] for the shadow.
func (o *observation) serves(m Memory) {
	if o == nil {
		return
	}
	if o.shadow.memory = nil; m != nil {
		o.shadow.memory = apprentice{m}
	}
}
