package rewrite

// A Rule is one row of a table: what some client or server cannot handle, and what is
// done about it. The engine knows no rule by name; all of a rule is in its row.
type Rule struct {
	Name     string   // its name in the configuration, the log and the metrics
	Heals    string   // what the rule heals, in one line: who does what wrong
	Doc      string   // who is meant, what goes wrong, and what the rule does
	Symptoms []string // texts that an administrator sees, in bounces, logs or displays
	Source   string   // the documents or bug reports that describe the fault
	Entries  []string // entries of the catalogue that it heals, such as "L02"
	Options  []Option // what [route.options.NAME] may contain in addition to ScopeOptions

	// Needs says for people which TLS policy of the route the rule needs. Acts reports
	// whether the rule can act under a policy. If the rule can act under any, they are
	// "" and nil.
	Needs string
	Acts  func(ClientTLS, ServerTLS) bool

	// Setup returns the rule's functions for the given options, or a mistake in these. It
	// is called once for each choice of options on a route: a product may have options of
	// its own.
	Setup func(Options) (Actions, *ConfigError)
}

// Actions are what a rule does at each stage of a session. Any function may be nil. The
// documentation of the package says what a function may do at each stage.
type Actions struct {
	// Open is called before the client is greeted, if the route ends TLS with the client.
	Open func(*Opening)

	// Line is called for a malformed line of the client, and for a BDAT whose argument
	// cannot be parsed. octets are the line with its line end. Line returns the line that
	// is meant, without a line end, or nil if it does not know that.
	Line func(s Session, octets []byte) []byte

	// Repair is called for octets of the server that are not exactly the well-formed
	// replies that are due, or may not be: see [Dialogue.Repair].
	Repair func(*Repair)

	// Offer is called for each positive reply of the server to EHLO or LHLO before
	// anybody acts on it, whether or not the client sees it. What it changes counts as
	// what the server has offered.
	Offer func(Session, Extensions)

	// Command is called for a command whose verb is in Commands. While the client owes
	// an EHLO, after its TLS handshake, Command is also called for a verb in Owed. It
	// is not called for a command that another rule has answered, or that we answer
	// without rules, such as a STARTTLS if we end the client's TLS. If a command then
	// has to wait for the replies to earlier ones, Command is called for it again after
	// these.
	Command        func(*Turn)
	Commands, Owed VerbSet

	// Reply is called for a reply of the server if the verb that the reply answers is
	// in one of these sets:
	//
	//   - Replies: for each reply. If the turn is held, Reply is also called if the
	//     server is lost in place of a reply, but not after a 334 of an AUTH exchange.
	//   - Refusals: for a reply with a code of 400 or more.
	//   - Multiline: for a reply of several lines.
	//   - Odd: for a reply with a line that has no text but blanks, has octets that are
	//     not ASCII, or is longer than 512 octets with code and CRLF (RFC 5321,
	//     4.5.3.1.5).
	Reply                             func(*Turn)
	Replies, Refusals, Multiline, Odd VerbSet

	// SASL is called for each line of the client in an AUTH exchange with the server,
	// except "*". The AUTH command itself is passed to Command, and the server's
	// challenges are passed to Reply.
	SASL func(*Turn)

	// Message is called at the beginning of each message that is sent to the server by
	// DATA. It returns what the rule does to the message. The zero Filter does nothing.
	Message func(*Text) Filter

	// State makes the value that Session.State returns. It is called at most once in a
	// session, by the first call of Session.State. nil: the rule has no state.
	State func() any
}

// A Set is a group of rules and their options that a configuration chooses by one name.
type Set struct {
	Name  string
	Doc   string
	Rules []string

	// Options[r][o] is the value of the option o of the rule r where the set is chosen.
	// It replaces the default of the option. The configuration takes precedence over
	// it.
	Options map[string]map[string]any

	// Signs are the signs of the product that the set is for, if it is for one.
	// Sessions look for them if a chosen set has this one among its Products.
	Signs Signs

	// Products are names of other sets, each for a product. The rules and options of
	// such a set act only in sessions that show its Signs. A session may recognise
	// several products whose sets have options for the same rule. Then the options of
	// the set that comes first in Products apply.
	Products []string
}

// A Book holds all rules and sets that a configuration may name. The order of Rules is
// the order in which rules run on commands. On replies and offers they run in reverse.
type Book struct {
	Rules []Rule
	Sets  []Set
}
