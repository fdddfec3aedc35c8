package rewrite

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sort"
	"strings"
)

// maxRules bounds the table, so that a set of rules is a word.
const maxRules = 64

// A ruleSet is a set of rules in force, by their place.
type ruleSet uint64

func (s *ruleSet) add(i int) { *s |= 1 << i }

// each calls f for every rule of the set, first to last.
func (s ruleSet) each(f func(i int)) {
	for ; s != 0; s &= s - 1 {
		f(bits.TrailingZeros64(uint64(s)))
	}
}

// Rules are the rules of one route with their options, ready for many
// sessions at once. They do not change.
type Rules struct {
	rules        []active
	commandVerbs verbSet // what any rule's command function is for
	owedVerbs    verbSet // what any is for if the client owes an EHLO
	replyVerbs   verbSet // what any rule's reply function is for
	refusalVerbs verbSet // what any is for if the reply is a refusal

	alias     [2]string // a keyword that stands for another in EHLO replies; "": none does
	aliasRule int       // by its place
}

// active is a rule in force.
type active struct {
	name string
	actions
}

// actions are what a rule does. Each function may be nil, and is called for
// its verbs only.
type actions struct {
	command      func(*Turn)
	commandVerbs verbSet
	owedVerbs    verbSet // it is for these if the client began TLS and has not said EHLO since
	reply        func(*Turn)
	replyVerbs   verbSet
	refusalVerbs verbSet // it is for these if the code is 400 or more

	alias      [2]string // a keyword that stands for another in EHLO replies
	earlyTLS   bool      // takes a client that begins with TLS where a greeting was due
	earlyWait  int64     // milliseconds that it is given to do so
	chunks     bool      // makes DATA of BDAT
	clearHello bool      // greets a client in clear that does not begin with TLS where it should
}

// Names lists the rules in force, in the order of the table.
func (r *Rules) Names() []string {
	var names []string
	for _, a := range r.active() {
		names = append(names, a.name)
	}
	return names
}

func (r *Rules) active() []active {
	if r == nil {
		return nil
	}
	return r.rules
}

// find gives the place of the first rule that is so.
func (r *Rules) find(is func(*actions) bool) (place int, ok bool) {
	rules := r.active()
	for i := range rules {
		if is(&rules[i].actions) {
			return i, true
		}
	}
	return 0, false
}

// seesCommand and seesReply say whether any rule asks for this verb.
func (r *Rules) seesCommand(v Verb, owed bool) bool {
	return r != nil && (r.commandVerbs.has(v) || owed && r.owedVerbs.has(v))
}

func (r *Rules) seesReply(v Verb, code int) bool {
	return r != nil && (r.replyVerbs.has(v) || code >= 400 && r.refusalVerbs.has(v))
}

// nameSet joins the names of a set of rules with commas.
func (r *Rules) nameSet(s ruleSet) string {
	var names []string
	s.each(func(i int) { names = append(names, r.rules[i].name) })
	return strings.Join(names, ",")
}

// Compile makes Rules of names of rules and sets; "-name" takes one away from
// those named before it. options are by rule and option. Every mistake is
// reported, as a *ConfigError.
func Compile(names []string, options map[string]map[string]any) (*Rules, []error) {
	table := Table()
	chosen, errs := choose(table, names)
	for name := range options {
		if !slices.ContainsFunc(table, func(r Rule) bool { return r.Name == name }) {
			errs = append(errs, &ConfigError{Rule: name, Err: fmt.Errorf("there is no rule %q", name)})
		}
	}
	rules := &Rules{}
	for _, row := range table {
		opts, bad := row.checkOptions(options[row.Name])
		errs = append(errs, bad...)
		if !chosen[row.Name] || len(bad) > 0 {
			continue
		}
		a, err := row.setup(opts)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		rules.rules = append(rules.rules, active{row.Name, a})
		rules.commandVerbs |= a.commandVerbs
		rules.owedVerbs |= a.owedVerbs
		rules.replyVerbs |= a.replyVerbs
		rules.refusalVerbs |= a.refusalVerbs
		if a.alias[0] != "" {
			rules.alias, rules.aliasRule = a.alias, len(rules.rules)-1
		}
	}
	sort.SliceStable(errs, func(i, j int) bool { return errs[i].Error() < errs[j].Error() })
	return rules, errs
}

// choose follows a list of names of rules, sets, and either with "-" before it.
func choose(table []Rule, names []string) (map[string]bool, []error) {
	byName := map[string][]string{}
	for _, r := range table {
		byName[r.Name] = []string{r.Name}
	}
	for _, s := range Sets() {
		byName[s.Name] = s.Rules
	}
	chosen := map[string]bool{}
	var errs []error
	for _, name := range names {
		bare, minus := strings.CutPrefix(name, "-")
		rules, ok := byName[bare]
		if !ok {
			errs = append(errs, &ConfigError{Rule: name, Err: fmt.Errorf("there is no rule or set %q", bare)})
		}
		for _, r := range rules {
			if minus && !chosen[r] && len(rules) == 1 {
				errs = append(errs, &ConfigError{Rule: name, Err: fmt.Errorf("%q takes away what nothing before it has named", name)})
			}
			chosen[r] = !minus
		}
	}
	return chosen, errs
}

// options are the values of a rule's options, all of them, of the right types.
type options map[string]any

func (o options) str(name string) string { return o[name].(string) }

func (o options) number(name string) int64 { return o[name].(int64) }

func (o options) table(name string) map[string]string { return o[name].(map[string]string) }

// checkOptions fills in defaults and reports what does not fit.
func (r *Rule) checkOptions(given map[string]any) (options, []error) {
	values := options{}
	for _, o := range r.Options {
		values[o.Name] = o.Default
	}
	var errs []error
	for name, v := range given {
		i := slices.IndexFunc(r.Options, func(o Option) bool { return o.Name == name })
		if i < 0 {
			errs = append(errs, &ConfigError{r.Name, name, r.noSuchOption(name)})
			continue
		}
		value, err := r.Options[i].check(v)
		if err != nil {
			errs = append(errs, &ConfigError{r.Name, name, err})
			continue
		}
		values[name] = value
	}
	return values, errs
}

func (r *Rule) noSuchOption(name string) error {
	var have []string
	for _, o := range r.Options {
		have = append(have, o.Name)
	}
	if len(have) == 0 {
		return fmt.Errorf("%s has no options, so not %q either", r.Name, name)
	}
	return fmt.Errorf("%s has no option %q; it has %s", r.Name, name, strings.Join(have, ", "))
}

// check brings a value to the option's type.
func (o *Option) check(v any) (any, error) {
	switch want := o.Default.(type) {
	case map[string]string:
		return stringTable(v)
	case int64:
		n, ok := v.(int64)
		if !ok || n < 0 || n > o.Most {
			return nil, fmt.Errorf("%v is not a whole number from 0 to %d", v, o.Most)
		}
		return n, nil
	case string:
		s, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("%v is not a string", v)
		}
		if o.Values != nil && !slices.Contains(o.Values, s) {
			return nil, fmt.Errorf("%q is none of %q", s, o.Values)
		}
		return s, nil
	default:
		return nil, fmt.Errorf("no value of type %T is understood", want)
	}
}

func stringTable(v any) (map[string]string, error) {
	if t, ok := v.(map[string]string); ok {
		return t, nil
	}
	raw, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New(`not a table of strings, such as { "old" = "new.example.com" }`)
	}
	t := map[string]string{}
	for k, v := range raw {
		s, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("%v, the value of %q, is not a string", v, k)
		}
		t[k] = s
	}
	return t, nil
}
