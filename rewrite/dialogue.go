// Package rewrite decides. It knows SMTP's dialogue and the rules that mend it,
// and nothing of connections, clocks or logs.
//
// A [Dialogue] is one session as a state machine: it is fed with the client's
// commands, the server's replies and what happened to the connections, and says
// what is to be written ([Dialogue.ToServer], [Dialogue.ToClient]) and what to
// wait for ([Dialogue.Next]). A [Rule] is a row of the [Table]. A [Message]
// finds the end of a message and mends it on the way.
package rewrite

import (
	"cmp"
	"net/netip"
)

// Next is what a dialogue waits for.
type Next uint8

const (
	AwaitServer       Next = iota // a connection to the server, and its greeting: Greeting or Lost
	AwaitCommand                  // the client's line: Command
	AwaitReply                    // the server's whole reply: Reply or Lost
	AwaitSASL                     // the client's line of an AUTH exchange: SASL
	AwaitMessage                  // the client's message, to the server: MessageEnd
	AwaitDiscard                  // the client's message, to nobody: MessageEnd
	AwaitChunk                    // ChunkSize octets, to the server: ChunkEnd
	AwaitChunkDiscard             // ChunkSize octets, to nobody: ChunkEnd
	AwaitChunkText                // ChunkSize octets, to the server through a Stuffer, with its End if ChunkIsLast: ChunkEnd
	AwaitClientTLS                // a handshake with the client: ClientTLS
	AwaitServerTLS                // a handshake with the server: ServerTLS or ServerTLSFailed
	AwaitOctets                   // the client's first octets after a SASL exchange: Octets
	AwaitAdmission                // whether there is room for the client that Ends gives now: Admitted
	Opaque                        // nothing we can read, in both directions, until the end
	End                           // both connections are closed once everything is written
)

// OfMessage says that octets of a message, or of a chunk of one, are waited for.
func (n Next) OfMessage() bool { return n >= AwaitMessage && n <= AwaitChunkText }

// A Policy is what is the same for all sessions of a route.
type Policy struct {
	Rules     *Rules // nil: none
	ClientTLS ClientTLS
	ServerTLS ServerTLS
	Hostname  string // our name, in replies of our own
	Limits    Limits
	Chunking  bool // false: CHUNKING and BINARYMIME are not shown to clients

	XCLIENT     SendXCLIENT
	XCLIENTFrom []netip.Prefix // who may say XCLIENT; it is hidden from everybody else
	Afresh      bool           // a connection to the server says at its beginning who the client is
}

// A Listener hears what the dialogue does; it decides nothing.
type Listener interface {
	Command(v Verb)           // a command of the client's
	Replied(v Verb, code int) // a reply that the client gets
	Applied(rule string)      // a departure that is delivered
	Broke(rule string)        // a rule made something that is no line; it was left out
	Limited(limit string)     // the client met a limit
}

// A Tracer is a Listener that also wants the lines. Credentials, SASL lines
// and the text of messages are never in them.
type Tracer interface {
	Listener
	// Exchanged is one command or reply: what one side said, and what the other
	// got of it. Lines are without CRLF, and the slices are the callee's until it
	// returns. side is 'C' or 'S': who said it.
	Exchanged(side byte, said, got []string, rules string)
	Event(what string)
}

// A Dialogue is one session. It is not safe for use by several goroutines.
type Dialogue struct {
	// ToServer and ToClient are what is to be written before the next wait.
	// The caller empties them.
	ToServer, ToClient []byte

	policy     *Policy
	client     netip.Addr
	origin     origin
	introduces bool // the client may say XCLIENT
	listener   Listener
	tracer     *tracer // nil: nobody wants the lines

	next      Next
	failure   string // why it ended before its time; "" it did not
	reason    string // the same for people
	errors    int
	chunkSize int64

	sent      sentQueue // commands whose replies are outstanding, oldest first
	turn      Turn      // the one that is held, if turn.held
	hello     []byte    // the last EHLO or HELO as the server got it
	early     []byte    // the server's answer to a message that is still being sent
	refusal   string    // what every command gets from now on: "" or a reply
	tlsFailed bool      // the server offered STARTTLS and could not do it
	grouping  bool      // another command may join those that are sent

	server serverState
	seen   clientState
	chunk  chunkState
	notes  [maxRules]uint8

	scratch []string // the lines of a reply before a rule has seen it
}

// serverState is what is true of the connection to the server; a fresh one
// begins with nothing.
type serverState struct {
	offers     Keyword
	attributes attributeSet // that it offers to be told by XCLIENT
	introduced bool         // XCLIENT was said, or is not to be had
	tls        bool
	plain      bool // TLS was tried or is not to be had: go on without
	gone       bool // not to be used any more
}

// clientState is what is true of the session as the client sees it.
type clientState struct {
	tls           bool
	hello         Verb // EHLO or HELO, the last that was accepted
	anew          bool // XCLIENT was said and no EHLO since
	helloOwed     bool // TLS has begun and no EHLO was said since
	transaction   bool // MAIL was accepted
	authenticated bool
	suspect       bool // lines that are no commands may be credentials whose AUTH, or text whose DATA, was refused
	sealing       bool // the last type 3 message of NTLM asks for sealing
	recipients    int  // RCPT commands of this transaction that were not refused
	idle          int  // commands outside of transactions since the last message
	mails         int  // MAIL commands accepted
	messages      int  // messages begun
}

// New begins a dialogue. client is the client's address, for an EHLO without
// a name and for XCLIENT. A listener that is a Tracer hears the lines too.
func New(p *Policy, client netip.Addr, l Listener) *Dialogue {
	d := &Dialogue{policy: p, client: client, introduces: p.mayIntroduce(client), listener: l, next: AwaitServer}
	d.origin.client = netip.AddrPortFrom(client, 0)
	if t, ok := l.(Tracer); ok {
		d.tracer = &tracer{Tracer: t}
	}
	d.seen.tls = p.ClientTLS == ClientTLSImplicit
	d.server.tls = p.ServerTLS == ServerTLSImplicit
	return d
}

// Next says what to wait for. more says whether a further line of the client's
// is there already: it may join a group.
func (d *Dialogue) Next(more bool) Next {
	switch {
	case d.next != AwaitCommand || d.sent.n == 0:
		return d.next
	case more && d.grouping && d.sent.n < maxGroup:
		return AwaitCommand
	}
	return AwaitReply
}

// Outstanding is the number of commands whose replies have not come.
func (d *Dialogue) Outstanding() int { return d.sent.n }

// Awaited is the verb whose reply comes next: "greeting", "end-of-data", "MAIL", ...
func (d *Dialogue) Awaited() Verb {
	if d.sent.n == 0 {
		return VerbOther
	}
	return d.sent.first()
}

// ChunkSize is the number of octets that AwaitChunk waits for.
func (d *Dialogue) ChunkSize() int64 { return d.chunkSize }

// ServerGone says that the connection to the server is of no use any more and
// is to be closed, whatever becomes of the client's.
func (d *Dialogue) ServerGone() bool { return d.server.gone }

// Idle says that no transaction is open: a session that may be asked to leave.
func (d *Dialogue) Idle() bool { return d.next == AwaitCommand && d.sent.n == 0 && !d.seen.transaction }

// Mailing says that a transaction is open, or a message on its way: somebody's
// mail is at stake.
func (d *Dialogue) Mailing() bool { return d.seen.transaction || d.next.OfMessage() }

// TLSFailed says that the server offered STARTTLS and then refused it, or that
// the handshake failed: it is not worth another try for a while.
func (d *Dialogue) TLSFailed() bool { return d.tlsFailed }

// WithoutServerTLS says, before the first greeting, that opportunistic TLS with
// this server failed a while ago and is not to be tried.
func (d *Dialogue) WithoutServerTLS() { d.server.plain = d.policy.ServerTLS == ServerTLSOpportunistic }

// EarlyTLSWait says whether a client may begin with TLS where a greeting is due,
// and how many milliseconds it is given to.
func (d *Dialogue) EarlyTLSWait() (milliseconds int64, ok bool) {
	place, ok := d.policy.Rules.find(func(a *actions) bool { return a.earlyTLS })
	if !ok || !d.endsTLS() || d.seen.tls {
		return 0, false
	}
	return d.policy.Rules.rules[place].earlyWait, true
}

// EarlyTLS looks at the client's first octets where they came before the
// greeting: whether it has begun with TLS, and a rule takes it. A handshake
// then comes before the greeting.
func (d *Dialogue) EarlyTLS(octets []byte) bool {
	if _, ok := d.EarlyTLSWait(); !ok || !BeginsTLS(octets) {
		return false
	}
	place, _ := d.policy.Rules.find(func(a *actions) bool { return a.earlyTLS })
	d.seen.tls = true
	d.listener.Applied(d.policy.Rules.rules[place].name)
	d.event("client TLS")
	return true
}

// BeginsTLS says whether octets begin a TLS handshake: the type of its record,
// and SSL's major version (RFC 8446, 5.1).
func BeginsTLS(octets []byte) bool {
	return len(octets) >= 2 && octets[0] == 22 && octets[1] == 3
}

// GreetsInClear says that a client which does not begin with TLS where it
// should is to be served in clear; InClear says that it is such a client.
func (d *Dialogue) GreetsInClear() bool {
	_, ok := d.policy.Rules.find(func(a *actions) bool { return a.clearHello })
	return ok && d.policy.ClientTLS == ClientTLSImplicit
}

// InClear is said before the first greeting.
func (d *Dialogue) InClear() {
	place, _ := d.policy.Rules.find(func(a *actions) bool { return a.clearHello })
	d.seen.tls = false
	d.listener.Applied(d.policy.Rules.rules[place].name)
}

// Hello is the last EHLO or HELO that the server got; "" if none.
func (d *Dialogue) Hello() string { return string(d.hello) }

// Failure is why the dialogue ended before its time: "", or one of
// "client-protocol", "server-protocol", "server-lost", "server-timeout", "server-unreachable", "tls",
// "xclient", "message-refused" (by us, which cost the connection to the server).
func (d *Dialogue) Failure() string { return d.failure }

// Reason says for people what Failure is about; "" if there is none. It is in
// words of our own: nothing that a peer said is in it.
func (d *Dialogue) Reason() string { return d.reason }

// Finish ends the session from outside with a reply of our own, when the
// client waits for nothing else.
func (d *Dialogue) Finish(text string) {
	d.answer(VerbOther, text)
	d.next = End
}

// fail keeps why the dialogue goes no further. The first reason is the real one.
func (d *Dialogue) fail(failure, reason string) {
	d.sent.n = 0
	d.turn.held = false
	d.failure, d.reason = failure, cmp.Or(d.reason, reason)
}

// end is the last thing that happens: the client gets a 421 and a reason.
func (d *Dialogue) end(failure, text string) {
	d.fail(failure, weSaid+text)
	d.answer(VerbOther, text)
	d.next = End
}

// refuse keeps the client, and answers everything but QUIT with the same
// temporary refusal. The server is not needed any more.
func (d *Dialogue) refuse(failure, text, reason string) {
	d.fail(failure, reason)
	d.server.gone = true
	d.refusal = text
	d.next = AwaitCommand
}

// weSaid is where the reason of a failure is what the client was told.
const weSaid = "we said "

// answer gives the client a reply of our own.
func (d *Dialogue) answer(v Verb, text string) {
	d.ToClient = append(append(d.ToClient, text...), crlf...)
	if sasl.has(v) {
		d.seen.suspect = true
	}
	d.listener.Replied(v, int(text[0]-'0')*100+int(text[1]-'0')*10+int(text[2]-'0'))
	if d.tracer != nil {
		d.tracer.Exchanged('S', nil, []string{text}, "")
	}
}

// maxGroup bounds the commands that wait for replies at once.
const maxGroup = 64

// sentQueue are the verbs of commands whose replies are outstanding.
type sentQueue struct {
	verbs   [maxGroup + 2]Verb
	head, n int
}

func (q *sentQueue) push(v Verb) {
	q.verbs[(q.head+q.n)%len(q.verbs)] = v
	q.n++
}

func (q *sentQueue) first() Verb { return q.verbs[q.head] }

func (q *sentQueue) pop() Verb {
	v := q.verbs[q.head]
	q.head = (q.head + 1) % len(q.verbs)
	q.n--
	return v
}
