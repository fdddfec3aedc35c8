package rewrite

// A Turn is one command of the client and what follows from it: its line on the way to
// the server, the lines of the AUTH exchange that it begins, and the reply on the way
// back. The server's greeting, and the reply to a message, are a Turn without a line.
type Turn struct {
	Session

	verb    Verb
	said    []byte // the client's line
	line    []byte // what is sent to the server in its place
	reply   Reply
	raw     []byte // the reply as the server sent it
	refusal []byte // the server's refusal of the line, while another is sent in its place; nil: none
	lost    bool   // the server hung up in place of a reply

	silent bool  // the server is lost because it did not reply in time
	within int64 // milliseconds for the server's reply; 0: as long as the route allows

	held     bool // nothing else is sent until the client has its reply
	asData   bool // the chunks of a BDAT are sent by DATA
	swallow  bool // the line is not sent to the server
	commands int  // lines that rules have sent again
	fresh    int  // connections that rules have made
	step     int  // SASL lines of the client so far
	sasl     bool // the client has seen a 334
	answered Reply
	firsts   []first // to be sent before the line
	again    string  // to be sent instead of passing on the reply
	repeats  bool    // again is set
	afresh   bool    // again needs a fresh connection

	spoken     Verb     // the verb of the last line sent to the server, unless that was a SASL line
	pending    bool     // the server's last reply was a 334, so that the next line is a SASL line
	attempt    *attempt // the AUTH exchange; nil: there is none
	proving    bool     // we log in at the server: our lines are secret
	redials    bool     // we repeat the hello on a fresh connection
	insisted   bool     // a fresh connection was made after one was lost on the way to TLS
	helloless  bool     // an EHLO in our own name comes first
	reshaken   bool     // the TLS handshake with the server was tried again
	introduced bool     // XCLIENT, or an EHLO for it, was sent
	traced     bool     // the tracer was told the client's line
	recallBy   ruleSet  // rules that have called Recall
	recalled   string   // the cause of recalling the reply; "": the reply is the server's own

	withheld bool    // logins were removed from the server's EHLO reply
	offerBy  ruleSet // rules that have changed the server's EHLO reply
	causes   causes  // of changed lines in the reply
	applied  ruleSet // rules to be counted when the client has its reply
	lineBy   ruleSet // rules that changed the line, sent another, changed the reply
	againBy  ruleSet
	replyBy  ruleSet

	scratch []string // the lines of a reply before a rule has seen it

	on      *conversation // runs the turn while it is held; nil: not yet, or no longer
	event   event         // what the turn has waited for
	running bool
}

// A first is a line that a rule sends before the client's.
type first struct {
	line string
	by   int
}

// For one command of the client, rules may send this many lines again, make this many
// connections, and send this many lines first. XAUTH has five plausible forms.
const (
	maxAgain = 4 // five with the command itself
	maxFresh = 2
	maxFirst = 4
)

// Verb returns the verb of the client's command. It is VerbGreeting if the turn is for
// the server's greeting, and VerbMessage if it is for the end of a message.
func (t *Turn) Verb() Verb { return t.verb }

// Said returns the client's command as it came, without CRLF. It is empty for a
// greeting and the end of a message. For a SASL line it is the AUTH command, and Line
// is the SASL line. The caller must not change it. It is valid until the rule's
// function returns.
func (t *Turn) Said() []byte { return t.said }

// Line returns the line that is sent to the server, without CRLF, as the rules have
// left it so far. In a Reply function it is the command as it was sent. The caller must
// not change it. It is valid until the rule's function returns.
func (t *Turn) Line() []byte { return t.line }

// SetLine replaces Line by line, which has no CRLF. It is for a SASL line, or a command
// other than BDAT, that is not sent yet.
func (t *Turn) SetLine(line string) { t.line = append(t.line[:0:0], line...) }

// Path returns Line, a MAIL or RCPT command, as a Path. ok is false if Line is another
// command or cannot be parsed.
func (t *Turn) Path() (p Path, ok bool) {
	if t.verb != VerbMAIL && t.verb != VerbRCPT {
		return Path{}, false
	}
	return ParsePath(t.line)
}

// SetPath replaces Line by the command line of p.
func (t *Turn) SetPath(p Path) { t.SetLine(p.String()) }

// Hold holds the turn: no later command is sent to the server until the client has the
// reply. A rule that may call Again must hold the turn first, in its Command function.
// Turns of EHLO, HELO, LHLO, STARTTLS and AUTH are always held.
func (t *Turn) Hold() { t.held = true }

// First sends line, another command without CRLF, to the server before Line. The client
// does not get the reply to line. A rule may call First in its Command function, except
// for BDAT. In one turn, the rules may call First four times; the commands are sent in
// that order. First holds the turn.
func (t *Turn) First(line string) {
	t.firsts, t.held = append(t.firsts, first{line, t.rule}), true
}

// Answer gives the client r as the reply to its line, and keeps Line from the server.
// For an AUTH command or a SASL line, an r with the code 334 asks the client for its
// next SASL line.
func (t *Turn) Answer(r Reply) { t.answered = r }

// AsData makes the engine send the message to the server by DATA, although the client
// sends it by BDAT. A rule calls it in its Command function, for the first BDAT of a
// message, and it holds for all chunks of the message.
func (t *Turn) AsData() { t.asData = true }

// Swallow drops the client's line. The client gets no reply, and its next line is
// awaited. Swallow may be called for a SASL line, and for a command line that is empty
// or blank.
func (t *Turn) Swallow() { t.swallow = true }

// Mechanism returns the mechanism of the client's AUTH command, in upper case.
func (t *Turn) Mechanism() string { return mechanismOf(t.said) }

// Step returns how many SASL lines the client has sent in this AUTH exchange, including
// the present one. The AUTH command does not count.
func (t *Turn) Step() int { return t.step }

// Reply returns the server's reply, as the rules that ran before this one have left it.
// The rule may change the reply. If Lost is true, there is none, and its Code is 0.
func (t *Turn) Reply() *Reply { return &t.reply }

// Extensions returns the extensions in Reply, if that is a positive reply to EHLO or
// LHLO. A rule that changes them changes the reply. For any other reply they are empty.
func (t *Turn) Extensions() Extensions {
	if !t.offersExtensions() {
		return Extensions{}
	}
	return Extensions{reply: &t.reply}
}

// Lost reports whether the server hung up in place of a reply, or did not reply within
// the time that Within set. In the latter case Silent is true too.
func (t *Turn) Lost() bool { return t.lost }

// Within holds the turn and lets the server take at most the given number of
// milliseconds to reply to Line. A rule calls it before Line is sent. If the server
// takes longer, the rules' Reply functions are called, with Lost and Silent true. If
// none of them calls AgainAfresh, the session ends.
func (t *Turn) Within(milliseconds int64) { t.within, t.held = milliseconds, true }

// Silent reports whether the server has not replied within the time that Within set.
// Lost is then true too.
func (t *Turn) Silent() bool { return t.silent }

// MayRepeat reports whether the rule may call Again with a command, because nothing can
// happen twice. It is true in these cases:
//
//   - for EHLO, HELO, LHLO and STARTTLS, for AUTH before its first 334, and for MAIL
//     while Untouched is true;
//   - for a MAIL, RCPT, DATA, RSET or NOOP whose form the server has refused (500, 501,
//     502, 504, 553, 554 or 555). Again must then send another form of the command.
func (t *Turn) MayRepeat() bool { return t.mayRepeatAfresh() || t.mayRespell() }

// mayRepeatAfresh reports whether a fresh connection loses nothing of the session, and
// does nothing twice.
func (t *Turn) mayRepeatAfresh() bool {
	switch {
	case t.sasl:
		return false
	case t.verb == VerbMAIL:
		return t.Untouched()
	}
	return alone.Has(t.verb)
}

// mayRespell reports whether the server has refused the form of the line. Such a command
// has done nothing, so another form of it may be sent.
func (t *Turn) mayRespell() bool {
	if t.lost || !respelt.Has(t.verb) {
		return false
	}
	switch t.reply.Code {
	case 500, 501, 502, 504, 553, 554, 555: // Courier answers 554 to an address without brackets, OpenSMTPD 553
		return true
	}
	return false
}

var respelt = SetOf(VerbMAIL, VerbRCPT, VerbDATA, VerbRSET, VerbNOOP)

// Again sends line, without CRLF, to the server instead of passing on the present
// reply. The reply to line takes the place of the present reply. The turn must be held,
// and Lost be false. If the present reply is a 334, line is a SASL line. Otherwise line
// is a command, and Again may be called only if MayRepeat is true. In one turn, the
// rules may send four lines again.
func (t *Turn) Again(line string) { t.again, t.repeats, t.afresh = line, true, false }

// AgainAfresh sends line, without CRLF, to the server on a fresh connection and waits
// for its reply, which takes the place of the present reply. Unless line is a hello,
// the last hello is sent before it. The turn must be held. AgainAfresh may be called
// for EHLO, HELO, LHLO and STARTTLS, for AUTH before its first 334, and for MAIL while
// Untouched is true. In one turn, the rules may make two fresh connections.
func (t *Turn) AgainAfresh(line string) { t.again, t.repeats, t.afresh = line, true, true }

// Fresh returns how many times rules have called AgainAfresh in this turn.
func (t *Turn) Fresh() int { return t.fresh }

// Challenged reports whether the client has got a 334 in this AUTH exchange.
func (t *Turn) Challenged() bool { return t.sasl }

// offersExtensions reports whether the reply is a list of keywords.
func (t *Turn) offersExtensions() bool {
	return esmtp.Has(t.verb) && commandIs(t.line, t.verb) && t.reply.Code > 0 && t.reply.Code < 300
}
