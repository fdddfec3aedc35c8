package rewrite

import (
	"cmp"
	"net/netip"
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// A Next is what a dialogue waits for. The comment of each value names the method that
// the caller calls when that has happened.
type Next uint8

const (
	AwaitServer       Next = iota // a connection to the server and its greeting: Greeting or Lost
	AwaitCommand                  // the client's line: Command or TooLong
	AwaitReply                    // a whole reply of the server: Reply, Lost, Silent or Garbage
	AwaitSASL                     // the client's line of an AUTH exchange: SASL
	AwaitMessage                  // the client's message, sent through Text.Next: MessageEnd
	AwaitDiscard                  // the rest of the client's message, to be discarded: MessageEnd
	AwaitChunk                    // ChunkSize octets, to be sent to the server: ChunkEnd
	AwaitChunkDiscard             // ChunkSize octets, to be discarded: ChunkEnd
	AwaitChunkText                // ChunkSize octets, sent through Text.Stuff: ChunkEnd
	AwaitClientTLS                // a TLS handshake with the client: ClientTLS
	AwaitServerTLS                // a TLS handshake with the server: one of the methods ServerTLS...
	AwaitOctets                   // the client's first octets after an AUTH that may have begun encryption: Octets
	AwaitWork                     // the end of Work, called where it blocks nobody else: Worked
	AwaitAdmission                // the decision whether the client that XCLIENT has named (see Ends) is served: Admitted
	Opaque                        // nothing: octets pass unread both ways until the end (but see Sealed)
	End                           // nothing: both connections are closed once everything is written
)

// OfMessage reports whether n means that the dialogue waits for octets of a message or
// of a chunk, which are sent on or discarded.
func (n Next) OfMessage() bool { return n >= AwaitMessage && n <= AwaitChunkText }

// A Policy holds what all sessions of a route have in common: its settings and its
// rules.
type Policy struct {
	Rules     *Rules // nil: no rule acts
	Observed  *Rules // rules that are computed and reported to a Witness, and never act; nil: none
	ClientTLS ClientTLS
	ServerTLS ServerTLS
	Turns     *Turns // a pool of turns for reuse; nil: none
	Logins    Logins // our logins at the server; nil: clients log in there themselves
	Hostname  string // our host name, for our own replies and EHLO commands
	Limits    Limits

	ClearLogin     ClearLogin
	VerifiesServer bool // the caller verifies the server's certificate in each TLS handshake

	XCLIENT     SendXCLIENT
	XCLIENTFrom []netip.Prefix // networks of clients that may say XCLIENT; others are not offered it

	// If Groups is true, MAIL, RCPT, RSET and DATA of a client that does not wait for
	// replies are sent on in groups, even if the server does not offer PIPELINING.
	Groups bool

	// Afresh says that each connection to the server shows from its beginning who the
	// client is, as by a PROXY header. If an XCLIENT command of the client names
	// another client, the session then goes on with a fresh connection.
	Afresh bool

	// Stamp returns the present time as a date of RFC 5322, 3.3, and a word of letters
	// and digits that is different on each call. Rules use them for the Date and the
	// Message-ID of a message that has none. If Stamp is nil, rules get neither.
	Stamp func() (date, word string)
}

// A Listener is told what the dialogue does. It decides nothing.
type Listener interface {
	// Command reports that the client has sent a command. v is VerbOther if the verb is
	// not known, or the line is malformed or too long.
	Command(v Verb)

	// Replied reports a reply that the client gets. v is the verb that it answers. If
	// the reply ends the session, v may be VerbOther instead. text is the text of its
	// first line, without the code. It is valid until Replied returns, and nil if it
	// may contain a secret.
	Replied(v Verb, code int, text []byte)

	// Applied reports that what a rule has changed was delivered. In place of the name
	// of a rule, rule may be a [vocabulary.Safeguard].
	Applied(rule string)

	Broke(rule, why string)         // a rule panicked, or its result was not allowed and was dropped
	Limited(limit vocabulary.Limit) // the client has exceeded a limit

	// Authenticated reports the outcome of an AUTH exchange on one side. With the
	// client, it is the outcome that the client was told. With the server, it is the
	// outcome by the server's last reply: if a rule has AUTH sent again in another
	// form, the outcomes before that are not reported. An exchange that the end of the
	// session cuts short is AuthUnfinished.
	Authenticated(side vocabulary.Side, m vocabulary.Mechanism, outcome vocabulary.AuthOutcome)
}

// A Tracer is a Listener that is also told the lines of commands and replies. In place
// of a credential or a SASL line it is told their length. It is not told the text of
// messages.
type Tracer interface {
	Listener
	// Exchanged reports one command or reply. side is 'C' for a command or a SASL line,
	// and 'S' for a reply. said are the lines as they came, nil if the proxy itself has
	// made them. got are the lines as they were sent on, nil if none was. by says what
	// caused the difference. The lines have no CRLF. The slices are valid until
	// Exchanged returns.
	Exchanged(side byte, said, got []string, by Causes)

	// Event reports, in words for people, what else has happened, such as "server TLS".
	Event(what string)
}

// A Dialogue decides what is sent in one session. Again and again, its caller writes
// ToServer and ToClient, waits for what Next returns, and calls the method that belongs
// to it. A Dialogue is not safe for concurrent use.
type Dialogue struct {
	// ToServer and ToClient are the octets to be written before the next wait. The caller
	// empties them.
	ToServer, ToClient []byte

	policy   *Policy
	client   netip.Addr
	origin   origin
	listener Listener
	tracer   *tracer // nil: no listener wants the lines

	cause     *cause // why the dialogue ended early; nil: it did not
	chunkSize int64

	sent       sentQueue // commands that await replies, oldest first
	turn       *Turn     // the last turn that rules or the engine looked at; nil: none is kept
	hello      string    // the last EHLO or HELO, as sent to the server; "": none was sent
	secrets    *secrets  // what the client said in the present AUTH exchange; nil: there is none
	early      string    // the server's reply to a message that is still being sent
	refusal    string    // the reply to every further command; "": commands are handled as usual
	errors     int32
	patience   int32 // milliseconds that a rule allows the server for its reply; 0: no rule sets a limit
	next       Next
	introduces bool // the client may say XCLIENT
	grouping   bool // another command may be sent before the present ones are answered
	spent      bool // the connection to the server was given up for a message: see spend
	parting    bool // the client's last reply announced the end: see Parting
	inText     bool // the command may be a line of a message: see CommandInText
	long       bool // the last command sent may be read as several: see MaySplit

	server     serverState
	seen       clientState
	recipients *recipients // nil: this is SMTP, not LMTP
	chunk      chunkState
	text       *Text        // the message in transit; nil: none is
	spare      *Text        // kept for the next message; nil: none is
	states     []ruleState  // the states of rules that have asked for one
	reach      *reach       // of rules limited to some sessions; nil: there are none
	memory     Memory       // what is remembered of the server; nil: nothing is
	observed   *observation // of the rules that are only observed; nil: there are none
	access     *access      // to an account, if the policy has Logins; nil: it has none
}

// A cause is why a dialogue ended early.
type cause struct {
	failure vocabulary.Outcome
	reason  string // the same in words for people
}

// A ruleState is the state that a rule keeps for the session.
type ruleState struct {
	rule  int // the index of the rule
	state any
}

// serverState is the state of the connection to the server. A fresh connection begins
// with the zero value, except for tls.
type serverState struct {
	offer      Reply        // its EHLO reply as the rules have left it, or the first line of its HELO reply
	packed     string       // the lines of offer while offer.Lines is nil
	logins     *logins      // that it offers; nil: none in clear, or not needed
	known      keywords     // keywords in offer
	attributes attributeSet // attributes that it accepts by XCLIENT
	loggedIn   bool         // we have logged in
	introduced bool         // XCLIENT was sent, or is not going to be
	hello      Verb         // the verb of the last hello that it has accepted and not forgotten
	oneHello   bool         // it has refused a second hello
	short      bool         // it has sent fewer replies to a message than it accepted recipients
	tls        bool
	refuses    bool  // its greeting was a refusal
	plain      bool  // TLS was tried, or cannot be had: the session goes on without
	gone       bool  // the connection must not be used any more
	last       int16 // the code of its last reply; 0: there was none
}

// forget resets what a server forgets at a TLS handshake and at XCLIENT.
func (s *serverState) forget() {
	s.offer, s.packed, s.known, s.attributes, s.hello = Reply{}, "", 0, 0, VerbOther
}

// pack joins the lines of the EHLO reply into one string, to save memory while the
// session waits.
func (s *serverState) pack() {
	if s.offer.Lines != nil {
		s.packed, s.offer.Lines = strings.Join(s.offer.Lines, "\n"), nil
	}
}

// unpacked returns the EHLO reply and undoes pack.
func (s *serverState) unpacked() *Reply {
	if s.packed != "" {
		s.offer.Lines, s.packed = strings.Split(s.packed, "\n"), ""
	}
	return &s.offer
}

// clientState is the state of the session as the client sees it.
type clientState struct {
	tls           bool
	hello         Verb // the verb of the last accepted hello
	anew          bool // XCLIENT was accepted and no EHLO has followed
	helloOwed     bool // TLS has begun and no EHLO has followed
	transaction   bool // a MAIL was accepted and its transaction is open
	authenticated bool
	suspect       bool   // a line that is no command may be a credential or text, its AUTH or DATA refused
	esmtp         bool   // the server's greeting had the word ESMTP, or the server has accepted EHLO
	sealed        bool   // the client has begun a sealed stream
	dataAnswered  bool   // DATA was refused without asking the server, and nothing has followed
	recipients    int32  // RCPT commands of this transaction that were accepted
	refused       int32  // RCPT commands of this transaction that were refused
	deferred      int32  // refused ones whose reply was 4xx
	idle          int32  // commands outside of transactions since the last message
	mails         int32  // MAIL commands that were accepted
	messages      int32  // messages that were begun
	shown         *Reply // the EHLO reply that the client got; nil: it is the server's
}

// New returns the dialogue of a new session under the policy p. client is the client's
// address, by which rules can be limited; the zero Addr: not known. l is told what
// happens. If l is also a Tracer or a Witness, it is told more.
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

// Next returns what the caller waits for next. more reports whether the caller already
// has another line of the client. If so, the result may be AwaitCommand although
// earlier commands have no reply yet: the line may be sent to the server in one group
// with them.
func (d *Dialogue) Next(more bool) Next {
	switch {
	case d.next != AwaitCommand || d.sent.n == 0:
		return d.next
	case more && d.grouping && d.sent.n < maxGroup:
		return AwaitCommand
	}
	return AwaitReply
}

// Outstanding returns the number of replies that the server still owes to commands and
// messages. A greeting does not count.
func (d *Dialogue) Outstanding() int {
	if d.sent.n > 0 && d.sent.first() == VerbMessage {
		return int(d.sent.n) - 1 + d.recipients.due()
	}
	return int(d.sent.n)
}

// Patience returns for how many milliseconds the caller waits for the next reply, at
// most, before it calls [Dialogue.Silent]. It is 0 if no rule limits that time. The
// timeout of the route holds too.
func (d *Dialogue) Patience() int64 { return int64(d.patience) }

// Awaited returns the verb whose reply comes next, such as VerbGreeting, VerbMessage or
// VerbMAIL. What we or a rule send for a command of the client, such as a STARTTLS
// before it, counts as that command. Awaited is VerbOther if no reply is awaited, or if
// the verb is not known.
func (d *Dialogue) Awaited() Verb {
	switch {
	case d.next == AwaitServer:
		return VerbGreeting
	case d.sent.n == 0:
		return VerbOther
	}
	return d.sent.first()
}

// ChunkSize returns how many octets the present chunk has. The caller calls it while
// Next is AwaitChunk, AwaitChunkDiscard or AwaitChunkText.
func (d *Dialogue) ChunkSize() int64 { return d.chunkSize }

// ServerGone reports whether the connection to the server must be closed. The connection
// to the client may stay open.
func (d *Dialogue) ServerGone() bool { return d.server.gone }

// Idle reports whether the dialogue waits for a command, with no reply outstanding and
// no transaction open. The caller may end an idle session when the program shuts down.
func (d *Dialogue) Idle() bool { return d.next == AwaitCommand && d.sent.n == 0 && !d.seen.transaction }

// Mailing reports whether a transaction is open or a message is in transit, so that
// ending the session would affect somebody's mail.
func (d *Dialogue) Mailing() bool { return d.seen.transaction || d.next.OfMessage() }

// Serves sets m, the memory of the server that the dialogue is connected to. If m is
// nil, nothing is remembered of the server. The caller calls Serves before each
// Greeting. If m holds a recent failure of opportunistic TLS, opportunistic TLS is not
// tried.
func (d *Dialogue) Serves(m Memory) {
	d.memory = m
	d.observed.serves(m)
	if m != nil && d.policy.ServerTLS == ServerTLSOpportunistic && m.Remembers(tlsFailed) {
		d.server.plain = true
	}
}

// tlsFailed is the key under which a failed handshake is remembered for a server that
// offers STARTTLS. It is kept for half an hour, because trying again costs each session
// another connection.
const (
	tlsFailed     = "server_tls"
	tlsFailedRest = 30 * 60
)

func (d *Dialogue) rememberTLSFailed() {
	if d.memory != nil {
		d.memory.Remember(tlsFailed, tlsFailedRest)
	}
}

// Rest releases memory that is not needed while the session waits for the client. It
// also empties ToServer and ToClient, so the caller must have written them before.
func (d *Dialogue) Rest() {
	d.ToServer, d.ToClient = nil, nil
	d.sent.rest()
	d.spare = nil
	d.server.pack()
	if !d.holds() {
		d.dropTurn()
	}
}

// dropTurn releases the last turn for reuse by other dialogues.
func (d *Dialogue) dropTurn() {
	if d.turn != nil {
		d.policy.Turns.keepTurn(d.turn)
		d.turn = nil
	}
}

// Close releases what the dialogue holds. The caller calls it at the end of the
// session. If an AUTH exchange is unfinished, the listener is told so. Afterwards only
// methods that report on the dialogue may be called, such as Failure.
func (d *Dialogue) Close() {
	d.stopTurn()
	d.leaveAttempt()
	if d.access != nil {
		d.access.use(nil)
	}
	d.dropTurn()
}

// newTurn returns the turn for another command.
func (d *Dialogue) newTurn(v Verb, line []byte) *Turn {
	t := d.turn
	if t == nil {
		t = d.policy.Turns.takeTurn()
		d.turn = t
	}
	said, firsts, scratch := append(t.said[:0], line...), t.firsts[:0], t.scratch
	*t = Turn{} // a literal with values would be built elsewhere and copied
	t.d, t.verb, t.said, t.line, t.firsts, t.scratch = d, v, said, said, firsts, scratch
	return t
}

// Hello returns the line of the last hello that was sent to the server; "" if there was
// none.
func (d *Dialogue) Hello() string { return d.hello }

// Failure returns the outcome of a session that has failed, such as OutcomeServerLost;
// "" if it has not. A session may go on after a failure, as after a message that was
// refused before its end. If it recovers with a later command, Failure is "" again.
func (d *Dialogue) Failure() vocabulary.Outcome {
	if d.cause == nil {
		return ""
	}
	return d.cause.failure
}

// Reason returns a text for people that says why there is a Failure; "" if there is
// none. Of what the client and the server have said, it contains at most the code of a
// reply.
func (d *Dialogue) Reason() string {
	if d.cause == nil {
		return ""
	}
	return d.cause.reason
}

// Finish ends the session. The client gets text, a reply without CRLF, as its last
// reply, unless Parting is true. Finish may be called only while the client waits for
// no other reply.
func (d *Dialogue) Finish(text string) {
	if !d.parting {
		d.answer(VerbOther, text)
	}
	d.next = End
}

// fail records why the dialogue ends. Only the first reason is kept.
func (d *Dialogue) fail(failure vocabulary.Outcome, reason string) {
	d.sent.forget()
	d.stopTurn()
	d.cause = &cause{failure, cmp.Or(d.Reason(), reason)}
}

// end ends the session and gives the client text, a 421 or 5xx reply.
func (d *Dialogue) end(failure vocabulary.Outcome, text string) {
	d.fail(failure, weSaid+text)
	d.answer(VerbOther, text)
	d.next = End
}

// refuse keeps the client connected, and answers every command but QUIT with text. The
// server is no longer needed.
func (d *Dialogue) refuse(failure vocabulary.Outcome, text, reason string) {
	d.fail(failure, reason)
	d.server.gone = true
	d.refusal = text
	d.next = AwaitCommand
}

// weSaid begins a reason that quotes our reply to the client.
const weSaid = "we said "

// answer gives the client a reply of our own.
func (d *Dialogue) answer(v Verb, text string) { d.answerFor(v, text, Causes{}) }

// answerFor is answer with the causes that a tracer is told.
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
