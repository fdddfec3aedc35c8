package rewrite

// A Turn is one command of the client's and what becomes of it: its line on the
// way to the server, the lines of the AUTH exchange that it begins, and the
// reply on the way back.
type Turn struct {
	Session

	verb    Verb
	said    []byte // the client's line
	line    []byte // what goes to the server in its place
	reply   Reply
	raw     []byte // the reply as it came
	refusal []byte // the server's to the line, while another is said in its place; nil: none
	lost    bool   // the server hung up instead of a reply

	silent bool  // it is lost because it did not answer in time
	within int64 // milliseconds for the answer to the line; 0: as long as the route allows

	held     bool // nothing else is sent until the client has its reply
	asData   bool // the chunks of a BDAT go on as DATA
	swallow  bool // the SASL line goes nowhere
	commands int  // said to the server because of a rule
	fresh    int  // connections made because of a rule
	step     int  // SASL lines of the client's so far
	sasl     bool // the client has seen a 334
	answered Reply
	firsts   []first // to be said to the server before the line
	again    string  // to be said to the server instead of giving the reply
	repeats  bool    // it is
	afresh   bool    // on a fresh connection

	spoken     Verb     // what the server was told last, if that was no SASL line
	pending    bool     // the server's last reply was a 334: what is said next is a SASL line
	attempt    *attempt // the AUTH exchange; nil: none has begun
	proving    bool     // we log in at the server: what is said is ours, and secret
	redials    bool     // what is said is the hello, on a fresh connection
	insisted   bool     // a connection was made because one was lost on the way to TLS
	helloless  bool     // EHLO comes first, in our own name
	reshaken   bool     // a handshake with the server was tried again
	introduced bool     // XCLIENT was said, or EHLO for its sake
	traced     bool     // the tracer knows what the client said
	recallBy   ruleSet  // who has called Recall
	recalled   string   // who has had the reply recalled; "": it is the server's

	withheld bool    // a login was taken from the server's EHLO reply
	offerBy  ruleSet // who has corrected the server's EHLO reply
	causes   causes  // of changed lines of the reply
	applied  ruleSet // all that departed, to be counted when the client has its reply
	lineBy   ruleSet // who changed the line, had it said again, changed the reply
	againBy  ruleSet
	replyBy  ruleSet

	on      *conversation // what it runs on while it is held; nil: nothing yet, or done
	event   event         // what it has waited for
	running bool
}

// A first is a line that a rule has said before the client's.
type first struct {
	line string
	by   int
}

// A command of the client's may cost this many commands and connections that
// rules ask for. XAUTH has five plausible forms.
const (
	maxAgain = 4 // with the command itself: five
	maxFresh = 2
	maxFirst = 4
)

// Verb is the verb of the client's command, VerbGreeting or VerbMessage.
func (t *Turn) Verb() Verb { return t.verb }

// Said is the client's line as it came, without CRLF; empty for a greeting and
// the end of a message. It must not be changed, and is good until the function
// returns.
func (t *Turn) Said() []byte { return t.said }

// Line is what goes to the server, likewise.
func (t *Turn) Line() []byte { return t.line }

// SetLine changes what goes to the server.
func (t *Turn) SetLine(line string) { t.line = append(t.line[:0:0], line...) }

// Path takes the line of MAIL or RCPT apart; ok is false where that cannot be done.
func (t *Turn) Path() (p Path, ok bool) {
	if t.verb != VerbMAIL && t.verb != VerbRCPT {
		return Path{}, false
	}
	return ParsePath(t.line)
}

// SetPath is SetLine with a Path.
func (t *Turn) SetPath(p Path) { t.SetLine(p.String()) }

// Hold says that the reply has to be seen before anything else is sent.
func (t *Turn) Hold() { t.held = true }

// First has another command said before the line, and its reply swallowed.
// Several are said in the order of the calls, four at most.
func (t *Turn) First(line string) {
	t.firsts, t.held = append(t.firsts, first{line, t.rule}), true
}

// Answer gives the client this reply, and the server nothing of the line. To
// AUTH and within its exchange, 334 asks the client for its next line.
func (t *Turn) Answer(r Reply) { t.answered = r }

// AsData has the chunks of a BDAT sent as one message by DATA.
func (t *Turn) AsData() { t.asData = true }

// Swallow has a SASL line, or a command that is a blank line, go nowhere; the
// client's next line is waited for.
func (t *Turn) Swallow() { t.swallow = true }

// Mechanism is that of the AUTH command as the client said it, in upper case.
func (t *Turn) Mechanism() string { return mechanismOf(t.said) }

// Step counts the client's SASL lines of this exchange, the present one included.
func (t *Turn) Step() int { return t.step }

// Reply is the server's reply as the rules before have left it.
func (t *Turn) Reply() *Reply { return &t.reply }

// Extensions are those of the reply that is on its way to the client. They are
// empty unless it is a good reply to EHLO or LHLO.
func (t *Turn) Extensions() Extensions {
	if !t.offersExtensions() {
		return Extensions{}
	}
	return Extensions{reply: &t.reply}
}

// Lost reports whether the server hung up in place of a reply.
func (t *Turn) Lost() bool { return t.lost }

// Within gives the server so many milliseconds for its answer to the line of a
// held turn. A server that is silent for longer is lost, which the rules hear of.
func (t *Turn) Within(milliseconds int64) { t.within, t.held = milliseconds, true }

// Silent reports whether the server is lost because the time of Within was over.
func (t *Turn) Silent() bool { return t.silent }

// MayRepeat reports whether nothing can be done twice by saying the line again,
// or another line in its place.
func (t *Turn) MayRepeat() bool { return t.mayRepeatAfresh() || t.mayRespell() }

// mayRepeatAfresh reports whether the session has done nothing that is lost with
// its connection, or done twice on another.
func (t *Turn) mayRepeatAfresh() bool {
	switch {
	case t.sasl:
		return false
	case t.verb == VerbMAIL:
		return t.Untouched()
	}
	return alone.Has(t.verb)
}

// mayRespell reports whether the server has refused the form of the line. A
// command that was refused so has done nothing: another form may be said.
func (t *Turn) mayRespell() bool {
	if t.lost || !respelt.Has(t.verb) {
		return false
	}
	switch t.reply.Code {
	case 500, 501, 502, 504, 553, 554, 555: // Courier says 554 to an address without brackets, OpenSMTPD 553
		return true
	}
	return false
}

var respelt = SetOf(VerbMAIL, VerbRCPT, VerbDATA, VerbRSET, VerbNOOP)

// Again has another line said in place of this one and its reply awaited; the
// client does not see this reply. It may be called where MayRepeat is true. To
// a 334 it answers with a SASL line, which is always allowed.
func (t *Turn) Again(line string) { t.again, t.repeats, t.afresh = line, true, false }

// AgainAfresh is Again on a fresh connection, of which a turn may have two. It may
// be called for EHLO, HELO, STARTTLS, AUTH before its first 334, and the first MAIL
// of a session.
func (t *Turn) AgainAfresh(line string) { t.again, t.repeats, t.afresh = line, true, true }

// Fresh counts the fresh connections that were made for this turn.
func (t *Turn) Fresh() int { return t.fresh }

// Challenged reports whether the client has seen a 334 of this exchange.
func (t *Turn) Challenged() bool { return t.sasl }

// offersExtensions says whether the reply is a list of keywords.
func (t *Turn) offersExtensions() bool {
	return esmtp.Has(t.verb) && commandIs(t.line, t.verb) && t.reply.Code > 0 && t.reply.Code < 300
}
