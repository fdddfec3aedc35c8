package rewrite

// Rules are the rules of one route with their options, ready for many
// sessions at once. They do not change.
type Rules struct {
	names []string
}

// Names lists the rules in force, in the order of the table.
func (r *Rules) Names() []string {
	if r == nil {
		return nil
	}
	return r.names
}

// Compile makes Rules of names of rules and sets; "-name" takes one away from
// those named before it. Every mistake is reported, as a *ConfigError.
func Compile(names []string, options map[string]map[string]any) (*Rules, []error) {
	return &Rules{}, nil
}

// Table lists every rule there is, in the order in which commands meet them.
func Table() []Rule { return nil }

// Sets lists the names for several rules.
func Sets() []Set { return nil }
