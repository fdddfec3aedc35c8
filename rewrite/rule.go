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

	// Setup returns the rule's functions for these options. It is called once for each
	// route.
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

	// Repair is called for octets of the server that are not a well-formed reply.
	Repair func(*Repair)

	// Offer is called for each EHLO reply of the server before anybody acts on it,
	// whether or not the client sees it. What it changes counts as what the server has
	// offered.
	Offer func(Session, Extensions)

	// Command is called for a command whose verb is in Commands, or in Owed while the
	// client owes the EHLO that must follow its TLS handshake. It is called again for the
	// same command if that has to wait for the replies to earlier ones.
	Command        func(*Turn)
	Commands, Owed VerbSet

	// Reply is called for a reply of the server if the verb that it answers is in
	// Replies; in Refusals, and the code is 400 or more; in Multiline, and the reply has
	// more than one line; or in Odd, and a line has only blanks for text, more than 512
	// octets with code and CRLF (RFC 5321, 4.5.3.1.5), or octets that are not ASCII. It
	// is also called if the server is lost instead of replying to a verb of Replies.
	Reply                             func(*Turn)
	Replies, Refusals, Multiline, Odd VerbSet

	// SASL is called for each line of the client in an AUTH exchange. For the server's
	// challenges, Reply is called.
	SASL func(*Turn)

	// Message is called when a message begins, and returns what the rule does to it. The
	// zero Filter does nothing.
	Message func(*Text) Filter

	// State makes the value that Session.State returns, once a session, on the first call
	// of Session.State. nil: the rule has no state.
	State func() any
}

// A Set is a name for several rules and their options.
type Set struct {
	Name  string
	Doc   string
	Rules []string

	// Options are options by rule and name. Where the set is chosen they replace the
	// defaults. Options in the configuration take precedence over them.
	Options map[string]map[string]any

	// Signs tell the product that the set is for. They are looked for if another set has
	// this one among its Products.
	Signs Signs

	// Products are names of further sets. The rules and options of each of these act only
	// in sessions that show its Signs. If a session shows the signs of several that have
	// options for the same rule, those of the first of them apply.
	Products []string
}

// A Book is all rules and sets that a configuration may name. Rules run first to last on
// commands, and last to first on replies.
type Book struct {
	Rules []Rule
	Sets  []Set
}
