package rewrite

import (
	"fmt"
	"iter"
	"math"
	"runtime/debug"

	"smtpshim/rewrite/vocabulary"
)

// An event is what a held turn has waited for.
type event struct {
	kind eventKind
	code int    // of a reply
	raw  []byte // a reply, or a line of the client's; good until the next wait

	swallowed bool // the tracer knows that the client does not get it
	recalled  bool // the server has given it to an earlier hello
}

type eventKind uint8

const (
	replied   eventKind = iota // the server's reply, or its greeting on a fresh connection
	lost                       // the server hung up in its place
	late                       // it did not answer in time, and its connection is closed
	secured                    // the handshake with the server went well
	insecure                   // it did not, and the connection is closed
	unsettled                  // it did not, and may go well on a fresh connection
	saidSASL                   // the client's line of an AUTH exchange
	worked                     // what was to be done is done
)

// An aftermath is what becomes of a server behind a hello.
type aftermath uint8

const (
	settled   aftermath = iota // it goes on from here
	forgetful                  // it wants a hello again
	ended                      // the client has its answer
)

// A conversation is what a held turn runs on: a coroutine, so that a turn that
// waits for several replies reads from top to bottom.
type conversation struct {
	turn  *Turn
	next  func() (waits, bool)
	stop  func()
	yield func(waits) bool
	over  bool // it is being stopped
}

// waits reports whether the turn waits for something, rather than being done.
type waits bool

func newConversation() *conversation {
	c := &conversation{}
	c.next, c.stop = iter.Pull(func(yield func(waits) bool) {
		defer func() {
			if c.over {
				recover() // await's, see there
			} else if r := recover(); r != nil {
				panic(&Panic{r, string(debug.Stack())}) // in whoever resumes the turn, who does not see this stack
			}
		}()
		c.yield = yield
		for more := true; more; more = yield(false) {
			c.turn.converse()
			c.turn = nil
		}
	})
	return c
}

// A Panic is one of the engine's own, or of a Listener's, while a turn was held.
type Panic struct {
	Value any
	Stack string
}

func (p *Panic) Error() string { return fmt.Sprint(p.Value) }

// Turns keeps turns, and what held turns run on, for later turns: a conversation's
// stack has grown already. Many dialogues may share one.
type Turns struct {
	conversations chan *conversation
	turns         chan *Turn
}

// turnsAConversation is how many turns are kept for each conversation: a turn is
// small, and a session has it for longer.
const turnsAConversation = 8

// NewTurns keeps as many conversations as so many.
func NewTurns(most int) *Turns {
	return &Turns{make(chan *conversation, most), make(chan *Turn, most*turnsAConversation)}
}

// Kept is how many conversations are kept at the moment.
func (ts *Turns) Kept() int { return len(ts.conversations) }

// Close gives up what is kept.
func (ts *Turns) Close() {
	for {
		select {
		case c := <-ts.conversations:
			c.stop()
		default:
			return
		}
	}
}

func (ts *Turns) takeConversation() *conversation {
	if ts != nil {
		select {
		case c := <-ts.conversations:
			return c
		default:
		}
	}
	return newConversation()
}

func (ts *Turns) keepConversation(c *conversation) {
	if ts != nil {
		select {
		case ts.conversations <- c:
			return
		default:
		}
	}
	c.stop()
}

func (ts *Turns) takeTurn() *Turn {
	if ts != nil {
		select {
		case t := <-ts.turns:
			return t
		default:
		}
	}
	return &Turn{}
}

// keepTurn keeps a turn that its dialogue needs no more, and nothing of what was
// said in it.
func (ts *Turns) keepTurn(t *Turn) {
	if ts == nil || t.on != nil || t.running {
		return
	}
	said := t.said[:cap(t.said)]
	clear(said)
	*t = Turn{firsts: t.firsts[:0]}
	if len(said) <= keptLine {
		t.said = said[:0]
	}
	clear(t.firsts[:cap(t.firsts)])
	select {
	case ts.turns <- t:
	default:
	}
}

// keptLine is the longest line, in octets, whose room is kept.
const keptLine = 256

// hold begins the conversation of a held turn. From here on it runs whenever
// what it waits for has come, until the client has its reply.
func (d *Dialogue) hold(t *Turn) {
	t.held = true
	t.on = d.policy.Turns.takeConversation()
	t.on.turn = t
	d.resume(event{})
}

// resume has the turn run until its next wait, or its end.
func (d *Dialogue) resume(e event) {
	t := d.turn
	t.event, t.running = e, true
	w, _ := t.on.next()
	if t.running = false; !w {
		d.policy.Turns.keepConversation(t.on)
		t.on = nil
	}
}

// stopTurn ends a conversation whose dialogue goes no further.
func (d *Dialogue) stopTurn() {
	t := d.turn
	if t == nil {
		return
	}
	t.held = false
	if t.on != nil && !t.running {
		t.on.over = true
		t.on.stop()
		t.on = nil
	}
}

// await waits for what the dialogue says that it waits for. It does not return
// to a conversation that is stopped.
func (t *Turn) await(n Next) event {
	t.d.next = n
	if !t.on.yield(true) {
		panic("stopped")
	}
	return t.event
}

// say has a line of our own, or of a rule's, said to the server, and waits for
// the reply.
func (t *Turn) say(line, cause string) event {
	t.tell(line, nil, cause)
	return t.await(AwaitReply)
}

// sayTheirs is say for the client's line, whatever has become of it.
func (t *Turn) sayTheirs(line string) event {
	var said []byte
	if !t.traced {
		t.traced, said = true, t.said
	}
	t.tell(line, said, t.lineCause())
	t.d.patience, t.within = int32(min(t.within, math.MaxInt32)), 0
	e := t.await(AwaitReply)
	t.d.patience = 0
	if t.silent = e.kind == late; t.silent {
		e.kind = lost
	}
	return e
}

// exchange says a line of the client's, whose loss rules may hear of.
func (t *Turn) exchange(line string) (raw []byte, ok bool) {
	if e := t.sayTheirs(line); e.kind == replied {
		return e.raw, true
	}
	return t.wasLost()
}

// reconnect has a fresh connection made, and waits for its greeting.
func (t *Turn) reconnect() (ok bool) {
	d := t.d
	d.sent.forget()
	d.server.gone = true
	if d.server.refuses {
		d.turnedAway()
		return false
	}
	e := t.await(AwaitServer)
	if e.code/100 != 2 {
		d.server.gone = true
		d.end(vocabulary.OutcomeServerUnreachable, unreachableText)
		return false
	}
	d.event("server again")
	d.trace('S', VerbGreeting, e.raw, nil, Causes{})
	return true
}

// refuseClear answers the client where TLS with the server is required and not to
// be had.
func (t *Turn) refuseClear(reason string) aftermath {
	t.d.refuse(vocabulary.OutcomeTLS, noTLSText, reason)
	t.d.answer(t.verb, noTLSText)
	return ended
}

// tell writes a line for the server. said is what the client has said for it;
// nil: nothing, or the tracer knows.
func (t *Turn) tell(line string, said []byte, cause string) {
	d := t.d
	t.spoken = VerbOther
	if !t.pending {
		t.spoken = ParseVerb([]byte(line))
	}
	d.ToServer = append(append(d.ToServer, line...), crlf...)
	d.sent.push(t.verb)
	if t.pending || sasl.Has(t.spoken) {
		t.asks([]byte(line))
	}
	d.long = !t.pending && d.maySplit(len(line)+len(crlf))
	if t.spoken == VerbRCPT {
		d.recipients.ask([]byte(line))
	}
	if hello.Has(t.spoken) {
		d.hello = append(d.hello[:0], line...)
	}
	if d.secrets != nil && line != string(t.said) { // a rule's, with what the client said in it
		d.secrets.add([]byte(line))
	}
	if d.tracer == nil {
		return
	}
	text := hidden(len(line))
	if !t.pending {
		text = d.redacted(t.spoken, []byte(line))
	}
	var was []string
	if said != nil {
		was = []string{d.redacted(t.verb, said)}
		if string(said) == line {
			cause = ""
		}
	}
	d.tracer.Exchanged('C', was, []string{text}, Causes{Rules: cause})
}

// lineCause says on whose account the client's line is said as it is.
func (t *Turn) lineCause() string {
	if t.commands == 0 && !t.lineBy.empty() {
		return t.d.policy.Rules.nameSet(t.lineBy)
	}
	return t.ownCause()
}

// ownCause says on whose account the server is told what the client has not said.
func (t *Turn) ownCause() string {
	if t.redials {
		return t.causeOf(spentCause)
	}
	if t.verb == VerbMAIL && t.d.policy.Logins != nil {
		return loginCause
	}
	if t.introduced {
		return t.causeOf(xclientCause)
	}
	return t.causeOf(serverTLSCause)
}

// causeOf is cause, unless a rule has had all of this said again.
func (t *Turn) causeOf(cause string) string {
	if t.commands > 0 {
		return t.d.policy.Rules.nameSet(t.againBy)
	}
	return cause
}
