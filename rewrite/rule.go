package rewrite

// A Rule is one row of a table: what one peer cannot live with, and what is
// done about it. A row is all there is to a rule: the engine knows none by name.
type Rule struct {
	Name     string   // its configuration key, log attribute and metric label
	Heals    string   // one line: for whom, and what it does
	Doc      string   // which peer, what goes wrong, what the rule does
	Symptoms []string // texts that an administrator sees: of bounces, log lines, displays
	Source   string   // who says so
	Entries  []string // of the catalogue in README.md: "L02"
	Options  []Option // what [route.options.NAME] may hold beside ScopeOptions

	// Needs says for people which TLS of the route the rule needs, and Acts whether it
	// can act under some. "" and nil: it can under any.
	Needs string
	Acts  func(ClientTLS, ServerTLS) bool

	// Setup returns what the rule does with these options. It runs once a route.
	Setup func(Options) (Actions, *ConfigError)
}

// Actions are what a rule does at each stage of a session. Any function may be
// nil. The package's documentation has the contract of each stage.
type Actions struct {
	// Open gets the client's first octets, before it is greeted.
	Open func(*Opening)

	// Line gets a line of the client's that is no line, or a BDAT whose argument cannot
	// be read, and may return the line that is meant.
	Line func(s Session, octets []byte) []byte

	// Repair gets octets of the server's that are no well-formed reply.
	Repair func(*Repair)

	// Offer gets each EHLO reply of the server's, before anybody acts on it,
	// whether the client sees it or not. What it changes is what the server means.
	Offer func(Session, Extensions)

	// Command gets the client's command, if its verb is in Commands, or in Owed
	// while the client owes the EHLO that follows its TLS handshake. It gets the
	// same command again where that has to wait for the replies to earlier ones.
	Command        func(*Turn)
	Commands, Owed VerbSet

	// Reply gets the server's reply, if the verb that it answers is in Replies,
	// in Refusals while the code is 400 or more, in Multiline while the reply has more
	// than one line, or in Odd while a line of it has no text but blanks, more than 512
	// octets with its code and CRLF (RFC 5321, 4.5.3.1.5), or octets that are not ASCII.
	// It also gets the loss of the server in place of a reply to a verb of Replies.
	Reply                             func(*Turn)
	Replies, Refusals, Multiline, Odd VerbSet

	// SASL gets each line of the client's within an AUTH exchange. The server's
	// challenges go to Reply.
	SASL func(*Turn)

	// Message is called when a message begins, and returns what the rule does to
	// it. The zero Filter does nothing.
	Message func(*Text) Filter

	// State makes what Session.State returns, once a session and when it is first
	// asked for. nil: the rule keeps nothing.
	State func() any
}

// A Set is a name for several rules.
type Set struct {
	Name  string
	Doc   string
	Rules []string

	// Options are by rule and option. They take the place of the defaults where the
	// set is chosen; the configuration's own values come before them.
	Options map[string]map[string]any

	// Signs tell the product that the set is for. They count where another set names
	// this one among its Products.
	Signs Signs

	// Products are names of further sets, each of which acts in those sessions alone
	// that show its Signs. There its options take the place of those that a rule has in
	// other sessions. If a session shows the signs of several that have options of
	// their own for a rule, the first of these counts.
	Products []string
}

// A Book is all rules and sets that a configuration may name. Commands meet the
// rules first to last, replies last to first.
type Book struct {
	Rules []Rule
	Sets  []Set
}
