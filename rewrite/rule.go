package rewrite

// A Rule is one row of a table: what some client or server cannot handle, and what is
// done about it. The engine knows no rule by name; all of a rule is in its row.
type Rule struct {
	Name     string   // its configuration key, log attribute and metric label
	Heals    string   // one line: for whom the rule is, and what it does
	Doc      string   // which client or server is meant, what goes wrong, and what the rule does
	Symptoms []string // texts that an administrator sees, in bounces, logs or displays
	Source   string   // where this is documented
	Entries  []string // entries of the catalogue in README.md, such as "L02"
	Options  []Option // what [route.options.NAME] may contain in addition to ScopeOptions

	// Needs says for people which TLS policy of the route the rule needs, and Acts
	// reports whether the rule can act under a policy. "" and nil: under any.
	Needs string
	Acts  func(ClientTLS, ServerTLS) bool

	// Setup returns the rule's functions for these options, or a mistake in them. It is
	// called once for each choice of options on a route: a product may have options of
	// its own.
	Setup func(Options) (Actions, *ConfigError)
}

// Actions are what a rule does at each stage of a session. Any function may be nil. The
// documentation of the package has the contract of each stage.
type Actions struct {
	// Open is called before the client is greeted.
	Open func(*Opening)

	// Line is called for octets that are not a well-formed line, or are a BDAT whose
	// argument cannot be parsed. It may return the line that is meant.
	Line func(s Session, octets []byte) []byte

	// Repair is called for octets of the server that are not a well-formed reply, or
	// may not be: see [Dialogue.Repair].
	Repair func(*Repair)

	// Offer is called for each EHLO reply of the server before anybody acts on it,
	// whether or not the client sees it. What it changes counts as what the server has
	// offered.
	Offer func(Session, Extensions)

	// Command is called for a command whose verb is in Commands. While the client owes
	// an EHLO, after its TLS handshake, Command is also called for a verb in Owed. If
	// the command has to wait for the replies to earlier ones, Command is called for it
	// again.
	Command        func(*Turn)
	Commands, Owed VerbSet

	// Reply is called for each reply to a verb in Replies, and if the server is lost in
	// place of such a reply. It is called for a reply to a verb in Refusals if the code
	// is 400 or more, and for a reply to a verb in Multiline if it has several lines.
	// It is called for a reply to a verb in Odd if a line has no text but blanks, has
	// octets that are not ASCII, or is longer than 512 octets with code and CRLF (RFC
	// 5321, 4.5.3.1.5).
	Reply                             func(*Turn)
	Replies, Refusals, Multiline, Odd VerbSet

	// SASL is called for each line of the client in an AUTH exchange. For the server's
	// challenges, Reply is called.
	SASL func(*Turn)

	// Message is called when a message begins, and returns what the rule does to it. The
	// zero Filter does nothing.
	Message func(*Text) Filter

	// State makes the value that Session.State returns. It is called at most once in a
	// session, by the first call of Session.State. nil: the rule has no state.
	State func() any
}

// A Set is a name for several rules and their options.
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
// the order in which rules run on commands. On replies they run in reverse.
type Book struct {
	Rules []Rule
	Sets  []Set
}
