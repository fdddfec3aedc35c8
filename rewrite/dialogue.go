package rewrite

import (
	"cmp"
	"net/netip"
	"strings"

	"smtpshim/rewrite/vocabulary"
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
	AwaitServerTLS                // a handshake with the server: ServerTLS, ServerTLSAgain or ServerTLSFailed
	AwaitOctets                   // the client's first octets after a SASL exchange: Octets
	AwaitWork                     // Work, where nobody else has to wait: Worked
	AwaitAdmission                // whether the client that Ends gives now is served: Admitted
	Opaque                        // nothing we can read, in both directions, until the end
	End                           // both connections are closed once everything is written
)

// OfMessage says that octets of a message, or of a chunk of one, are waited for.
func (n Next) OfMessage() bool { return n >= AwaitMessage && n <= AwaitChunkText }

// A Policy is what is the same for all sessions of a route.
type Policy struct {
	Rules     *Rules // nil: none
	Observed  *Rules // computed and told of, see Witness, and never acted on; nil: none
	ClientTLS ClientTLS
	ServerTLS ServerTLS
	Turns     *Turns // nil: nothing is kept
	Logins    Logins // nil: clients log in at the server themselves, or not
	Hostname  string // our name, in replies of our own
	Limits    Limits

	ClearLogin     ClearLogin
	VerifiesServer bool // the server's certificate is verified before anything is said inside TLS

	XCLIENT     SendXCLIENT
	XCLIENTFrom []netip.Prefix // who may say XCLIENT; it is hidden from everybody else
	Groups      bool           // groups of commands go on as they come, also where PIPELINING is not offered
	Afresh      bool           // a connection to the server says at its beginning who the client is

	// Stamp returns the present time as a date of RFC 5322, 3.3, and a word of letters and
	// digits that it never returns again, for the Date and the Message-ID of a message that
	// has none. nil: rules get neither.
	Stamp func() (date, word string)
}

// A Listener hears what the dialogue does; it decides nothing.
type Listener interface {
	Command(v Verb) // a command of the client's
	// Replied is a reply that the client gets. text is what stands in its first
	// line behind the code; it is the callee's until it returns, and nil where it
	// may hold a secret.
	Replied(v Verb, code int, text []byte)
	Applied(rule string)            // a departure that is delivered
	Broke(rule, why string)         // a rule made what cannot be, or panicked; what it made was left out
	Limited(limit vocabulary.Limit) // the client met a limit

	// Authenticated is the end of an AUTH exchange with the client, as the client was
	// told, or with the server, as that has said. Where rules had a refused AUTH said in
	// another form, it is the end of the last.
	Authenticated(side vocabulary.Side, m vocabulary.Mechanism, outcome vocabulary.AuthOutcome)
}

// A Tracer is a Listener that also wants the lines. Credentials, SASL lines
// and the text of messages are never in them.
type Tracer interface {
	Listener
	// Exchanged is one command or reply: what one side said, what the other got of
	// it, and on whose account that differs. Lines are without CRLF, and the
	// slices are the callee's until it returns. side is 'C' or 'S': who said it.
	Exchanged(side byte, said, got []string, by Causes)
	Event(what string)
}

// A Dialogue is one session. It is not safe for use by several goroutines.
type Dialogue struct {
	// ToServer and ToClient are what is to be written before the next wait.
	// The caller empties them.
	ToServer, ToClient []byte

	policy   *Policy
	client   netip.Addr
	origin   origin
	listener Listener
	tracer   *tracer // nil: nobody wants the lines

	cause     *cause // why it ended before its time; nil: it did not
	chunkSize int64

	sent       sentQueue // commands whose replies are outstanding, oldest first
	turn       *Turn     // the last one that rules or the engine had to look at; nil: none is kept
	hello      []byte    // the last EHLO or HELO as the server got it
	secrets    *secrets  // what the client said in the AUTH exchange under way; nil: there is none
	early      []byte    // the server's answer to a message that is still being sent
	refusal    string    // what every command gets from now on: "" or a reply
	errors     int32
	patience   int32 // milliseconds that a rule gives the server for its answer; 0: no rule does
	next       Next
	introduces bool // the client may say XCLIENT
	grouping   bool // another command may join those that are sent
	spent      bool // a message has cost the connection to the server: see spend
	parting    bool // what the client got for that message was a 421
	inText     bool // the command may be a line of a message: see CommandInText
	long       bool // the last command that was sent may be taken for several

	server     serverState
	seen       clientState
	recipients *recipients // nil: this is SMTP, not LMTP
	chunk      chunkState
	text       *Text        // the message that is under way; nil: none is
	spare      *Text        // for the next one; nil: there is none
	states     []ruleState  // of the rules that have asked for one
	reach      *reach       // of the rules that act in some sessions only; nil: there are none
	memory     Memory       // of the server; nil: nothing is kept
	observed   *observation // of what further rules would do; nil: there are none
	access     *access      // of a policy that has Logins; nil: it has none

	scratch []string // the lines of a reply before a rule has seen it
}

// A cause is why a dialogue ends before its time.
type cause struct {
	failure vocabulary.Outcome
	reason  string // the same for people
}

// A ruleState is what a rule keeps for the session.
type ruleState struct {
	rule  int // by its place
	state any
}

// serverState is what is true of the connection to the server; a fresh one
// begins with nothing.
type serverState struct {
	offer      Reply        // its EHLO reply, as the rules have it, or the first line of that to HELO; no code: none
	packed     string       // the lines of that, while they are not there
	known      keywords     // of that
	attributes attributeSet // that it offers to be told by XCLIENT
	loggedIn   bool         // by us
	logins     *logins      // what it offers in clear and inside TLS; nil: none in clear, or nobody asks
	introduced bool         // XCLIENT was said, or is not to be had
	hello      Verb         // of those it has accepted and not forgotten, the last
	oneHello   bool         // it has refused another
	short      bool         // it has answered for fewer recipients than it had accepted
	tls        bool
	refuses    bool  // its greeting was a refusal
	plain      bool  // TLS was tried or is not to be had: go on without
	gone       bool  // not to be used any more
	last       int16 // the code of its last reply; 0: none
}

// forget is what a server does with all that it has said, at a handshake, and
// at XCLIENT.
func (s *serverState) forget() {
	s.offer, s.packed, s.known, s.attributes, s.hello = Reply{}, "", 0, 0, VerbOther
}

// pack keeps the EHLO reply in one piece of memory.
func (s *serverState) pack() {
	if s.offer.Lines != nil {
		s.packed, s.offer.Lines = strings.Join(s.offer.Lines, "\n"), nil
	}
}

// unpacked is the EHLO reply.
func (s *serverState) unpacked() *Reply {
	if s.packed != "" {
		s.offer.Lines, s.packed = strings.Split(s.packed, "\n"), ""
	}
	return &s.offer
}

// clientState is what is true of the session as the client sees it.
type clientState struct {
	tls           bool
	hello         Verb // EHLO, HELO or LHLO, the last that was accepted
	anew          bool // XCLIENT was said and no EHLO since
	helloOwed     bool // TLS has begun and no EHLO was said since
	transaction   bool // MAIL was accepted
	authenticated bool
	suspect       bool   // lines that are no commands may be credentials whose AUTH, or text whose DATA, was refused
	esmtp         bool   // the server has greeted with the word ESMTP, or answered EHLO well
	sealed        bool   // the client has begun a sealed stream
	dataAnswered  bool   // DATA was refused without asking the server, and nothing has come since
	recipients    int32  // of this transaction, that were accepted
	refused       int32  // those that were
	deferred      int32  // of those, the ones that got 4xx
	idle          int32  // commands outside of transactions since the last message
	mails         int32  // MAIL commands accepted
	messages      int32  // begun
	shown         *Reply // the EHLO reply that the client got; nil: the server's
}

// New begins a dialogue. client is the client's address, for an EHLO without
// a name and for XCLIENT. A listener that is a Tracer hears the lines too.
func New(p *Policy, client netip.Addr, l Listener) *Dialogue {
	d := &Dialogue{policy: p, client: client, introduces: p.mayIntroduce(client), listener: l, next: AwaitServer}
	d.reach = p.Rules.newReach(client)
	d.observed = observe(d)
	d.origin.client = netip.AddrPortFrom(client, 0)
	if t, ok := l.(Tracer); ok {
		d.tracer = &tracer{Tracer: t}
	}
	if p.Logins != nil {
		d.access = &access{}
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

// Outstanding is the number of replies that have not come.
func (d *Dialogue) Outstanding() int {
	if d.sent.n > 0 && d.sent.first() == VerbMessage {
		return int(d.sent.n) - 1 + d.recipients.due()
	}
	return int(d.sent.n)
}

// Patience is for how many milliseconds to wait for the reply that is awaited
// before [Dialogue.Silent] is called, where a rule allows less than the route
// does; 0: none does.
func (d *Dialogue) Patience() int64 { return int64(d.patience) }

// Awaited is the verb whose reply comes next: "greeting", "end-of-data", "MAIL", ...
func (d *Dialogue) Awaited() Verb {
	switch {
	case d.next == AwaitServer:
		return VerbGreeting
	case d.sent.n == 0:
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

// Serves says with which server the session is, before its greeting, and what
// is remembered of it. Opportunistic TLS that failed a while ago is not tried.
func (d *Dialogue) Serves(m Memory) {
	d.memory = m
	d.observed.serves(m)
	if m != nil && d.policy.ServerTLS == ServerTLSOpportunistic && m.Remembers(tlsFailed) {
		d.server.plain = true
	}
}

// tlsFailed is remembered of a server that offered STARTTLS and could not do
// it, for half an hour: each session would cost it a connection more.
const (
	tlsFailed     = "server_tls"
	tlsFailedRest = 30 * 60
)

func (d *Dialogue) rememberTLSFailed() {
	if d.memory != nil {
		d.memory.Remember(tlsFailed, tlsFailedRest)
	}
}

// Rest gives back what is needed only while something is under way.
func (d *Dialogue) Rest() {
	d.ToServer, d.ToClient = nil, nil
	d.sent.rest()
	d.spare = nil
	d.server.pack()
	if !d.holds() {
		d.dropTurn()
	}
}

// dropTurn leaves the last turn to other dialogues.
func (d *Dialogue) dropTurn() {
	if d.turn != nil {
		d.policy.Turns.keepTurn(d.turn)
		d.turn = nil
	}
}

// Close ends the dialogue. A held turn is given up; nothing may be called
// afterwards but what asks how it was.
func (d *Dialogue) Close() {
	d.stopTurn()
	d.leaveAttempt()
	if d.access != nil {
		d.access.use(nil)
	}
	d.dropTurn()
}

// newTurn is the turn of another command.
func (d *Dialogue) newTurn(v Verb, line []byte) *Turn {
	t := d.turn
	if t == nil {
		t = d.policy.Turns.takeTurn()
		d.turn = t
	}
	said, firsts := append(t.said[:0], line...), t.firsts[:0]
	*t = Turn{} // and nothing in it: that would be made elsewhere, and copied
	t.d, t.verb, t.said, t.line, t.firsts = d, v, said, said, firsts
	return t
}

// Hello is the last EHLO or HELO that the server got; "" if none.
func (d *Dialogue) Hello() string { return string(d.hello) }

// Failure is why the dialogue ended before its time; "" if it did not.
func (d *Dialogue) Failure() vocabulary.Outcome {
	if d.cause == nil {
		return ""
	}
	return d.cause.failure
}

// Reason says for people what Failure is about; "" if there is none. It is in
// words of our own: nothing that a peer said is in it.
func (d *Dialogue) Reason() string {
	if d.cause == nil {
		return ""
	}
	return d.cause.reason
}

// Finish ends the session from outside with a reply of our own, when the
// client waits for nothing else. A client that is Parting has had its last reply.
func (d *Dialogue) Finish(text string) {
	if !d.parting {
		d.answer(VerbOther, text)
	}
	d.next = End
}

// fail keeps why the dialogue goes no further. The first reason is the real one.
func (d *Dialogue) fail(failure vocabulary.Outcome, reason string) {
	d.sent.forget()
	d.stopTurn()
	d.cause = &cause{failure, cmp.Or(d.Reason(), reason)}
}

// end is the last thing that happens: the client gets a 421, or a 554, and a reason.
func (d *Dialogue) end(failure vocabulary.Outcome, text string) {
	d.fail(failure, weSaid+text)
	d.answer(VerbOther, text)
	d.next = End
}

// refuse keeps the client, and answers everything but QUIT with the same
// temporary refusal. The server is not needed any more.
func (d *Dialogue) refuse(failure vocabulary.Outcome, text, reason string) {
	d.fail(failure, reason)
	d.server.gone = true
	d.refusal = text
	d.next = AwaitCommand
}

// weSaid is where the reason of a failure is what the client was told.
const weSaid = "we said "

// answer gives the client a reply of our own.
func (d *Dialogue) answer(v Verb, text string) { d.answerFor(v, text, Causes{}) }

// answerFor is answer with the cause that a trace names.
func (d *Dialogue) answerFor(v Verb, text string, by Causes) {
	start := len(d.ToClient)
	d.ToClient = append(append(d.ToClient, text...), crlf...)
	code := int(text[0]-'0')*100 + int(text[1]-'0')*10 + int(text[2]-'0')
	if sasl.Has(v) {
		d.seen.suspect = true
		if d.turn != nil {
			d.turn.tellClientAuth(code)
		}
	}
	d.listener.Replied(v, code, d.ToClient[start+4:start+len(text)])
	if d.tracer != nil {
		d.tracer.Exchanged('S', nil, []string{text}, by)
	}
}
