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
	raw  []byte // a reply, or a line of the client; valid until the next wait

	swallowed bool // the tracer was told that the client does not get it
	recalled  bool // it repeats the server's reply to an earlier hello
}

type eventKind uint8

const (
	replied   eventKind = iota // the server's reply, or its greeting on a fresh connection
	lost                       // the server hung up in place of a reply
	late                       // the server did not reply in time; its connection is closed
	secured                    // the TLS handshake with the server succeeded
	insecure                   // the TLS handshake failed; the connection is closed
	unsettled                  // the TLS handshake failed, and may succeed on a fresh connection
	saidSASL                   // the client's line of an AUTH exchange
	worked                     // the work of AwaitWork is done
)

// An aftermath says how a session goes on after a hello and what followed it.
type aftermath uint8

const (
	settled   aftermath = iota // the session goes on from here
	forgetful                  // the server needs a hello again
	ended                      // the client has its reply
)

// A conversation is the coroutine that runs a held turn, so that the code of a turn that
// waits for several replies reads from top to bottom.
type conversation struct {
	turn  *Turn
	next  func() (waits, bool)
	stop  func()
	yield func(waits) bool
	over  bool // it is being stopped
}

// waits reports whether the turn waits for something; it is done otherwise.
type waits bool

func newConversation() *conversation {
	c := &conversation{}
	c.next, c.stop = iter.Pull(func(yield func(waits) bool) {
		defer func() {
			if c.over {
				recover() // recover from the panic of await
			} else if r := recover(); r != nil {
				panic(&Panic{r, string(debug.Stack())}) // the goroutine that resumes the turn does not see this stack
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

// A Panic is the value that the package panics with if the engine, or a Listener, has
// panicked while a turn was held. Value is the original value, and Stack is the stack
// of the turn, which runs on a coroutine.
type Panic struct {
	Value any
	Stack string
}

func (p *Panic) Error() string { return fmt.Sprint(p.Value) }

// Turns is a pool from which dialogues take the memory for turns, and the coroutines
// that run held turns. A coroutine from the pool is cheaper than a new one, because its
// stack has already grown. Many dialogues may share one pool, also at the same time.
type Turns struct {
	conversations chan *conversation
	turns         chan *Turn
}

// turnsAConversation is how many turns are pooled for each conversation. A turn is small,
// and a session needs it for longer.
const turnsAConversation = 8

// NewTurns returns an empty pool. most is the largest number of coroutines that it
// keeps while no dialogue uses them. Dialogues may use more.
func NewTurns(most int) *Turns {
	return &Turns{make(chan *conversation, most), make(chan *Turn, most*turnsAConversation)}
}

// Kept returns the number of coroutines in the pool, which no dialogue is using.
func (ts *Turns) Kept() int { return len(ts.conversations) }

// Close ends the coroutines in the pool. The caller calls it after it has closed the
// dialogues that use the pool.
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

// keepTurn puts a turn that its dialogue no longer needs into the pool. It erases what
// was said in the turn.
func (ts *Turns) keepTurn(t *Turn) {
	if ts == nil || t.on != nil || t.running {
		return
	}
	said := t.said[:cap(t.said)]
	clear(said)
	scratch := t.scratch
	*t = Turn{firsts: t.firsts[:0]}
	if len(said) <= keptLine {
		t.said = said[:0]
	}
	if clear(scratch[:cap(scratch)]); cap(scratch) <= keptLines {
		t.scratch = scratch[:0]
	}
	clear(t.firsts[:cap(t.firsts)])
	select {
	case ts.turns <- t:
	default:
	}
}

// keptLine is the capacity, in octets, of the largest buffer for a line that is pooled.
const keptLine = 256

// keptLines is the capacity of the largest buffer for the lines of a reply that is pooled.
const keptLines = 32

// hold starts a conversation for a turn. It runs whenever what it waits for has happened,
// until the client has its reply.
func (d *Dialogue) hold(t *Turn) {
	t.held = true
	t.on = d.policy.Turns.takeConversation()
	t.on.turn = t
	d.resume(event{})
}

// resume runs the held turn until its next wait or its end.
func (d *Dialogue) resume(e event) {
	t := d.turn
	t.event, t.running = e, true
	w, _ := t.on.next()
	if t.running = false; !w {
		d.policy.Turns.keepConversation(t.on)
		t.on = nil
	}
}

// stopTurn stops the conversation of a dialogue that ends.
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

// await suspends the turn until n has happened. If the conversation is stopped, await
// does not return.
func (t *Turn) await(n Next) event {
	t.d.next = n
	if !t.on.yield(true) {
		panic("stopped")
	}
	return t.event
}

// say sends a line of our own, or of a rule, and waits for the reply.
func (t *Turn) say(line, cause string) event {
	t.tell(line, nil, cause)
	return t.await(AwaitReply)
}

// sayTheirs is say for the client's line, which rules may have changed.
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

// exchange sends a line of the client and waits for the reply. If the server is lost, it
// runs the rules that want to know.
func (t *Turn) exchange(line string) (raw []byte, ok bool) {
	if e := t.sayTheirs(line); e.kind == replied {
		return e.raw, true
	}
	return t.wasLost()
}

// reconnect makes a fresh connection and waits for its greeting.
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

// refuseClear answers the client if TLS with the server is required and cannot be had.
func (t *Turn) refuseClear(reason string) aftermath {
	t.d.refuse(vocabulary.OutcomeTLS, noTLSText, reason)
	t.d.answer(t.verb, noTLSText)
	return ended
}

// tell writes a line to the server. said is the client's line that it stands for; nil if
// there is none or the tracer was told of it.
func (t *Turn) tell(line string, said []byte, cause string) {
	d := t.d
	t.spoken = VerbOther
	if !t.pending {
		t.spoken = ParseVerb([]byte(line))
	}
	d.ToServer = append(append(room(d.ToServer, len(line)+len(crlf)), line...), crlf...)
	d.sent.push(t.verb)
	if t.pending || sasl.Has(t.spoken) {
		t.asks([]byte(line))
	}
	d.long = !t.pending && d.maySplit(len(line)+len(crlf))
	if t.spoken == VerbRCPT {
		d.recipients.ask([]byte(line))
	}
	if hello.Has(t.spoken) {
		d.hello = line
	}
	if d.secrets != nil && line != string(t.said) { // a rule made this line of what the client said
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

// lineCause returns the cause, for a trace, of sending the client's line as it is sent.
func (t *Turn) lineCause() string {
	if t.commands == 0 && !t.lineBy.empty() {
		return t.d.policy.Rules.nameSet(t.lineBy)
	}
	return t.ownCause()
}

// ownCause returns the cause, for a trace, of sending what the client has not said.
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

// causeOf returns cause, or the rules that have a line sent again if there are any.
func (t *Turn) causeOf(cause string) string {
	if t.commands > 0 {
		return t.d.policy.Rules.nameSet(t.againBy)
	}
	return cause
}
