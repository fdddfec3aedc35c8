package rewrite

// A Rule is one row of the table: what one peer cannot live with, and what is
// done about it. Its name is its configuration key, its log attribute and its
// metric label.
type Rule struct {
	Name    string   // as in the configuration
	Heals   string   // one line: for whom, and what it does
	Doc     string   // which peer, what goes wrong, what we do
	Source  string   // who says so
	Options []Option // what [route.options.NAME] may hold

	setup func(options) (actions, *ConfigError) // what it does, with these options
}

// An Option is one key of [route.options.NAME].
type Option struct {
	Name    string
	Default any // string, int64 or map[string]string; also its type
	Doc     string
	Values  []string // of a string: what it may be; nil: anything
	Most    int64    // of a number: the largest it may be
}

// A Set is a name for several rules.
type Set struct {
	Name  string
	Doc   string
	Rules []string
}

// A ConfigError says what is wrong with the choice of rules or an option.
type ConfigError struct {
	Rule   string // as it was given
	Option string // "": the rule's name itself is wrong
	Err    error
}

func (e *ConfigError) Error() string { return e.Err.Error() }
func (e *ConfigError) Unwrap() error { return e.Err }
