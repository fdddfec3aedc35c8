package rewrite

import (
	"bytes"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

// maxRules is the largest number of rules that may be in force on one route.
const maxRules = 128

// A ruleSet is a set of rules in force. A rule is identified by its index in Rules.rules.
type ruleSet [maxRules / 64]uint64

func (s *ruleSet) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *ruleSet) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }
func (s *ruleSet) addAll(o ruleSet) {
	for i := range s {
		s[i] |= o[i]
	}
}

func (s *ruleSet) empty() bool { return *s == ruleSet{} }

// each calls f for every rule of the set, in ascending order.
func (s ruleSet) each(f func(i int)) {
	for w, word := range s {
		for ; word != 0; word &= word - 1 {
			f(w*64 + bits.TrailingZeros64(word))
		}
	}
}

// Rules are rules with their options, chosen for a route by [Book.Compile]. They are
// immutable, and many sessions may use them at once. A nil *Rules has no rules.
type Rules struct {
	rules  []active
	stages stages // of the rules
	scoped bool   // some rule acts in some sessions only
	start  reach  // the reach of a session of which nothing is known yet

	chosen    []string  // names of rules and sets, as passed to Compile
	products  []product // the products that are looked for
	greetings *sieve    // of the products, for their signs in a greeting
	offered   *sieve    // likewise in an EHLO reply
	says      VerbSet   // verbs that are a sign of one of them

	commands, owed                      VerbSet // verbs for which some rule's Command is called
	replies, refusals                   VerbSet // verbs for which some rule's Reply is called
	multiline, odd                      VerbSet // likewise
	offers, lines, sasl, opens, repairs bool    // whether some rule has such a function
	messages                            int     // the number of rules that have Message
}

// An active is a rule in force.
type active struct {
	name  string
	scope scope
	Actions
}

// Names returns the names of the rules in r, each once, in the order of [Book.Rules].
func (r *Rules) Names() []string {
	var names []string
	for _, a := range r.active() {
		names = append(names, a.name)
	}
	return slices.Compact(names) // a rule with different options for different products is listed several times
}

// OfMessages returns the names of those rules in r that look at the text of messages,
// or may change it.
func (r *Rules) OfMessages() (names []string) {
	for _, a := range r.active() {
		if a.Message != nil {
			names = append(names, a.name)
		}
	}
	return slices.Compact(names)
}

// Chosen returns the names that were passed to Compile to make r.
func (r *Rules) Chosen() []string {
	if r == nil {
		return nil
	}
	return slices.Clone(r.chosen)
}

// Scope returns a text for people that says in which sessions the rule called name
// acts: with which clients, hellos, greetings and products. It is "" if the rule acts
// in every session.
func (r *Rules) Scope(name string) string {
	var texts, products []string
	for _, a := range r.active() {
		if a.name != name {
			continue
		}
		if text := a.scope.String(); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
		if a.scope.products == 0 {
			return texts[0]
		}
		products = append(products, r.productNames(a.scope.products)...)
	}
	if len(products) > 0 {
		texts = append(texts, "products "+strings.Join(products, ", "))
	}
	return strings.TrimPrefix(strings.Join(texts, "; "), "; ")
}

func (r *Rules) active() []active {
	if r == nil {
		return nil
	}
	return r.rules
}

// seesCommand reports whether some rule's Command is called for this verb. owed reports
// whether the client owes an EHLO after its TLS handshake.
func (r *Rules) seesCommand(v Verb, owed bool) bool {
	return r != nil && (r.commands.Has(v) || owed && r.owed.Has(v))
}

// maySee reports whether some rule's Reply is called for some reply to this verb.
func (r *Rules) maySee(v Verb) bool {
	return r != nil && (r.replies | r.refusals | r.multiline | r.odd).Has(v)
}

// seesLoss reports whether some rule's Reply is called if the server is lost instead of
// replying to this verb.
func (r *Rules) seesLoss(v Verb) bool { return r != nil && r.replies.Has(v) }

// seesRaw reports whether some rule's Reply is called for raw, a well-formed reply to v.
func (r *Rules) seesRaw(v Verb, raw []byte) bool {
	return r != nil && (r.replies.Has(v) || r.refusals.Has(v) && codeOf(raw) >= 400 ||
		r.multiline.Has(v) && len(raw) > 3 && raw[3] == '-' || r.odd.Has(v) && isOdd(raw))
}

// maxOldText is the longest text of a reply line, in octets. With its code and CRLF such
// a line has 512 octets (RFC 5321, 4.5.3.1.5).
const maxOldText = 512 - len("250 \r\n")

// isOdd reports whether some line of the reply has no text, is longer than maxOldText, or
// has octets that are not ASCII.
func (r *Reply) isOdd() bool {
	return slices.ContainsFunc(r.Lines, func(text string) bool { return isOddText(text) })
}

// isOdd is [Reply.isOdd] for a reply in wire format.
func isOdd(raw []byte) bool {
	for line := range bytes.Lines(raw) {
		if isOddText(bytes.TrimRight(line[min(len(line), 4):], "\r\n")) {
			return true
		}
	}
	return false
}

func isOddText[T string | []byte](text T) bool {
	blank := true
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return true
		}
		blank = blank && isBlank(text[i])
	}
	return blank || len(text) > maxOldText
}

// nameSet returns the names of the rules in the set, separated by commas.
func (r *Rules) nameSet(s ruleSet) string {
	if s.empty() {
		return ""
	}
	var names []string
	s.each(func(i int) { names = append(names, r.rules[i].name) })
	return strings.Join(slices.Compact(names), ",")
}

// add puts a rule in force.
func (r *Rules) add(a active) {
	r.stages.add(uint8(len(r.rules)), &a.Actions)
	r.rules = append(r.rules, a)
	if a.Command != nil {
		r.commands |= a.Commands
		r.owed |= a.Owed
	}
	if a.Reply != nil {
		r.replies |= a.Replies
		r.refusals |= a.Refusals
		r.multiline |= a.Multiline
		r.odd |= a.Odd
	}
	r.scoped = r.scoped || !a.scope.isEverySession()
	r.opens = r.opens || a.Open != nil
	r.lines = r.lines || a.Line != nil
	r.repairs = r.repairs || a.Repair != nil
	r.offers = r.offers || a.Offer != nil
	r.sasl = r.sasl || a.SASL != nil
	if a.Message != nil {
		r.messages++
	}
}

// Compile returns the Rules for names. The name of a rule adds the rule. The name of a
// set adds the rules and the products of the set. A name with "-" before it removes the
// rule, the set or the product that earlier names have added. options[r][o] is the
// configured value of the option o of the rule r. The errors are all mistakes found,
// each a *ConfigError. If there are any, the Rules must not be used.
func (b Book) Compile(names []string, options map[string]map[string]any) (*Rules, []error) {
	chosen, products, errs := b.choose(names)
	ofSets := b.optionsOfSets(names)
	for name := range options {
		if !slices.ContainsFunc(b.Rules, func(r Rule) bool { return r.Name == name }) {
			errs = append(errs, &ConfigError{Rule: name, Err: fmt.Errorf("there is no rule %q", name)})
		}
	}
	rules := &Rules{chosen: slices.Clone(names)}
	errs = append(errs, rules.lookFor(products)...)
	for _, row := range b.Rules {
		for i, v := range variants(row.Name, chosen[row.Name], ofSets[row.Name], products) {
			a, bad := row.setUp(v, options[row.Name])
			if i == 0 || len(errs) == 0 { // the other variants have the same mistakes
				errs = append(errs, bad...)
			}
			if v.chosen && len(bad) == 0 {
				rules.add(a)
			}
		}
	}
	if len(rules.rules) > maxRules {
		errs = append(errs, &ConfigError{Err: fmt.Errorf("%d rules are chosen; a route may have at most %d", len(rules.rules), maxRules)})
	}
	rules.start = reach{
		clients:  rules.outside(func(s *scope) bool { return s.clients == nil }),
		hello:    rules.outside(func(s *scope) bool { return s.hello == nil }),
		banner:   rules.outside(func(s *scope) bool { return s.banner == nil }),
		products: rules.besideProducts(0),
	}
	sort.SliceStable(errs, func(i, j int) bool { return errs[i].Error() < errs[j].Error() })
	return rules, errs
}

// setUp makes a rule in force from a row and one of its variants. own are the configured
// options, which take precedence over those of sets.
func (r *Rule) setUp(v variant, own map[string]any) (active, []error) {
	given := maps.Clone(v.options)
	if given == nil {
		given = map[string]any{}
	}
	maps.Copy(given, own)
	opts, errs := r.checkOptions(given)
	scope, outside := newScope(r.Name, opts, own)
	scope.products = v.products
	errs = append(errs, outside...)
	if !v.chosen || len(errs) > 0 {
		return active{}, errs
	}
	a, err := r.Setup(opts)
	if err != nil {
		err.Rule = r.Name
		return active{}, []error{err}
	}
	return active{r.Name, scope, a}, nil
}

// optionsOfSets merges the options of the named sets, by rule. If several sets set the
// same option, the last of them wins.
func (b Book) optionsOfSets(names []string) map[string]map[string]any {
	all := map[string]map[string]any{}
	for _, name := range names {
		bare, minus := strings.CutPrefix(name, "-")
		i := slices.IndexFunc(b.Sets, func(s Set) bool { return s.Name == bare })
		if i < 0 {
			continue
		}
		for rule, options := range b.Sets[i].Options {
			if all[rule] == nil {
				all[rule] = map[string]any{}
			}
			for option, value := range options {
				if minus {
					delete(all[rule], option)
				} else {
					all[rule][option] = value
				}
			}
		}
	}
	return all
}

// A choice says in which sessions a rule is to act.
type choice struct {
	always   bool     // in every session
	products []string // in sessions with these products
}

// choose resolves a list of names of rules and sets, each with or without "-" before it.
// products are the sets whose signs are looked for, in order.
func (b Book) choose(names []string) (chosen map[string]choice, products []Set, errs []error) {
	sets := map[string]Set{}
	for _, r := range b.Rules {
		sets[r.Name] = Set{Rules: []string{r.Name}}
	}
	for _, s := range b.Sets {
		sets[s.Name] = s
	}
	chosen = map[string]choice{}
	for _, name := range names {
		bare, minus := strings.CutPrefix(name, "-")
		set, ok := sets[bare]
		if !ok {
			errs = append(errs, &ConfigError{Rule: name, Err: fmt.Errorf("there is no rule or set %q", bare)})
		}
		if at := slices.IndexFunc(products, func(s Set) bool { return s.Name == bare }); minus && at >= 0 {
			products = slices.Delete(products, at, at+1)
			forget(chosen, set)
			continue
		}
		for _, r := range set.Rules {
			_, there := chosen[r]
			if minus && !there && len(set.Rules) == 1 {
				errs = append(errs, &ConfigError{Rule: name, Err: fmt.Errorf("%q removes a rule that no name before it adds", name)})
			}
			if minus {
				delete(chosen, r)
			} else {
				chosen[r] = choice{true, chosen[r].products}
			}
		}
		for _, product := range set.Products {
			products = chooseProduct(chosen, products, sets[product], minus)
		}
	}
	return chosen, products, errs
}

// forget stops looking for a product. A rule that is also chosen for another reason
// stays.
func forget(chosen map[string]choice, product Set) {
	for _, r := range product.Rules {
		c := chosen[r]
		c.products = slices.DeleteFunc(slices.Clone(c.products), func(name string) bool { return name == product.Name })
		if chosen[r] = c; !c.always && len(c.products) == 0 {
			delete(chosen, r)
		}
	}
}

// chooseProduct adds a set to the products that are looked for; with minus, it removes
// the set.
func chooseProduct(chosen map[string]choice, products []Set, set Set, minus bool) []Set {
	at := slices.IndexFunc(products, func(s Set) bool { return s.Name == set.Name })
	switch {
	case minus && at >= 0:
		products = slices.Delete(products, at, at+1)
	case !minus && at < 0:
		products = append(products, set)
	}
	for _, r := range set.Rules {
		if minus {
			delete(chosen, r)
		} else {
			chosen[r] = choice{chosen[r].always, append(slices.Clone(chosen[r].products), set.Name)}
		}
	}
	return products
}

// A variant is a rule with one choice of options, for some sessions or for all.
type variant struct {
	chosen   bool
	options  map[string]any // from sets, not from the configuration
	products productSet     // 0: it acts in every session
}

// variants returns the variants of a rule: one with the options of the chosen sets, and
// one for each different choice of options that products make. The first is always
// present, even if it is not chosen.
func variants(rule string, c choice, ofSets map[string]any, products []Set) []variant {
	all := []variant{{chosen: c.always, options: ofSets}}
	for i, set := range products {
		if !slices.Contains(c.products, set.Name) {
			continue
		}
		options := maps.Clone(ofSets)
		if options == nil {
			options = map[string]any{}
		}
		maps.Copy(options, set.Options[rule])
		at := slices.IndexFunc(all, func(v variant) bool { return v.chosen && sameOptions(v.options, options) })
		if at < 0 {
			all = append(all, variant{true, options, 1 << i})
		} else if all[at].products != 0 {
			all[at].products |= 1 << i
		}
	}
	return all
}

// sameOptions compares options by their printed form. No two different values of an
// option print alike.
func sameOptions(a, b map[string]any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// Repairs reports whether any rule of r has a function Actions.Repair, which is for
// malformed replies.
func (r *Rules) Repairs() bool { return r != nil && r.repairs }

// Repairs reports whether any rule, in force or observed, looks at malformed replies. If
// none does, Repair need not be called.
func (d *Dialogue) Repairs() bool { return d.policy.Rules.Repairs() || d.policy.Observed.Repairs() }
