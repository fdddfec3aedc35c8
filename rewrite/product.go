package rewrite

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// Signs are how a product shows in a session. Each of them is enough. The regular
// expressions (RE2) meet the texts of a whole reply, without codes and with LF between
// lines; "" stands for none. A pattern that begins with a word costs next to nothing.
type Signs struct {
	Greeting string  // of the server
	Offer    string  // its reply to EHLO, the first line with it
	Help     string  // its reply to HELP, which clients rarely say
	Says     VerbSet // the client has said one of these
}

// A Product is one that a session has recognised at one of its ends.
type Product struct {
	Name string // of its set
	By   vocabulary.Sign
}

// maxProducts is how many products may be looked for on one route.
const maxProducts = 64

// A productSet is a set of them, by their place.
type productSet uint64

func (s productSet) has(i int) bool { return s&(1<<i) != 0 }

// product is a set whose signs are looked for.
type product struct {
	name                  string
	greeting, offer, help *regexp.Regexp // nil: no sign
	says                  VerbSet
}

// matches reports whether a text shows a sign. nil is the sign that is never shown.
func matches(sign *regexp.Regexp, text string) bool { return sign != nil && sign.MatchString(text) }

// lookFor has these products looked for.
func (r *Rules) lookFor(sets []Set) (errs []error) {
	if len(sets) > maxProducts {
		return []error{&ConfigError{Err: fmt.Errorf("%d products are chosen; a route may have at most %d", len(sets), maxProducts)}}
	}
	for _, s := range sets {
		p := product{name: s.Name, says: s.Signs.Says}
		for text, to := range map[*string]**regexp.Regexp{
			&s.Signs.Greeting: &p.greeting, &s.Signs.Offer: &p.offer, &s.Signs.Help: &p.help,
		} {
			if *text == "" {
				continue
			}
			re, err := regexp.Compile(*text)
			if err != nil {
				errs = append(errs, &ConfigError{Rule: s.Name, Err: fmt.Errorf("the set %s has a sign that is not a regular expression (RE2): %w", s.Name, err)})
			}
			*to = re
		}
		r.products = append(r.products, p)
		r.scoped, r.says = true, r.says|p.says
	}
	return errs
}

// Products lists the products that are looked for, by the names of their sets.
func (r *Rules) Products() []string {
	if r == nil {
		return nil
	}
	return r.productNames(1<<len(r.products) - 1)
}

// Shown lists the products that are looked for, each with every sign that may tell it.
func (r *Rules) Shown() (list []Product) {
	if r == nil {
		return nil
	}
	for _, p := range r.products {
		for _, sign := range []struct {
			has bool
			by  vocabulary.Sign
		}{
			{p.greeting != nil, vocabulary.SignGreeting},
			{p.offer != nil, vocabulary.SignEHLO},
			{p.help != nil, vocabulary.SignHELP},
			{p.offer != nil || p.help != nil, vocabulary.SignRemembered},
			{p.says != 0, vocabulary.SignCommand},
		} {
			if sign.has {
				list = append(list, Product{p.name, sign.by})
			}
		}
	}
	return list
}

func (r *Rules) productNames(s productSet) (names []string) {
	for i, p := range r.products {
		if s.has(i) {
			names = append(names, p.name)
		}
	}
	return names
}

// besideProducts is the set of rules that do not act in a session with these
// products: those of other products, and those whose place one of a product takes.
func (r *Rules) besideProducts(found productSet) (out ruleSet) {
	for start := 0; start < len(r.rules); {
		end, acting := start, -1
		var first productSet // the product that acting is for
		for ; end < len(r.rules) && r.rules[end].name == r.rules[start].name; end++ {
			of := r.rules[end].scope.products
			switch shown := of & found; {
			case of == 0 && acting < 0:
				acting = end
			case shown != 0 && (first == 0 || shown&-shown < first):
				acting, first = end, shown&-shown
			}
		}
		for i := start; i < end; i++ {
			if i != acting {
				out.add(i)
			}
		}
		start = end
	}
	return out
}

// A recognition is what a session knows of the products at its ends.
type recognition struct {
	found  []found
	told   productSet // that the tracer has heard of
	banner string     // the key of what is remembered of a server that greets so; "": nothing is kept
}

// found is a product, by its place, and what has told.
type found struct {
	product int
	by      vocabulary.Sign
}

// Products are those that the session has recognised: the server's of the present
// connection to it, and the client's.
func (d *Dialogue) Products() []Product {
	if s := d.observed.shadowOf(); s != nil && d.reach == nil {
		return s.Products()
	}
	if d.reach == nil {
		return nil
	}
	var list []Product
	for _, f := range d.reach.known.found {
		list = append(list, Product{d.policy.Rules.products[f.product].name, f.by})
	}
	return list
}

// recognise notes a product, unless it is known already.
func (d *Dialogue) recognise(product int, by vocabulary.Sign) {
	k := &d.reach.known
	if slices.ContainsFunc(k.found, func(f found) bool { return f.product == product }) {
		return
	}
	k.found = append(k.found, found{product, by})
	if !k.told.has(product) {
		k.told |= 1 << product
		d.event(d.policy.Rules.products[product].name + " by " + signText(by))
	}
}

// signText names a sign for people.
func signText(s vocabulary.Sign) string {
	switch s {
	case vocabulary.SignGreeting:
		return "its greeting"
	case vocabulary.SignEHLO:
		return "its EHLO reply"
	case vocabulary.SignHELP:
		return "its HELP reply"
	case vocabulary.SignRemembered:
		return "an earlier session"
	}
	return "the client's command"
}

// forgetProducts takes away what these signs have told.
func (d *Dialogue) forgetProducts(signs ...vocabulary.Sign) {
	k := &d.reach.known
	k.found = slices.DeleteFunc(k.found, func(f found) bool { return slices.Contains(signs, f.by) })
}

// chooseRules has the rules act that the products need.
func (d *Dialogue) chooseRules() {
	var all productSet
	for _, f := range d.reach.known.found {
		all |= 1 << f.product
	}
	if all == 0 {
		d.reach.products = d.policy.Rules.start.products
		return
	}
	d.reach.products = d.policy.Rules.besideProducts(all)
}

// productRest is for how many seconds it is remembered which product a server is whose
// greeting does not tell.
const productRest = 24 * 60 * 60

// greetingTells looks for products in the greeting of a connection to the server. What
// an earlier connection has told is forgotten: this may be another server.
func (d *Dialogue) greetingTells(text string) {
	products := d.policy.Rules.products
	if len(products) == 0 {
		return
	}
	d.forgetProducts(vocabulary.SignGreeting, vocabulary.SignEHLO, vocabulary.SignHELP, vocabulary.SignRemembered)
	for i := range products {
		if matches(products[i].greeting, text) {
			d.recognise(i, vocabulary.SignGreeting)
		}
	}
	if d.memory != nil {
		d.remembered(text)
	}
	d.chooseRules()
}

// remembered looks for what an earlier session has learned of a server with this greeting.
func (d *Dialogue) remembered(greeting string) {
	k := &d.reach.known
	k.banner = "product " + strconv.FormatUint(bannerHash(greeting), 36)
	if !d.memory.Remembers(k.banner) {
		return
	}
	for i, p := range d.policy.Rules.products {
		if (p.offer != nil || p.help != nil) && d.memory.Remembers(k.banner+" "+p.name) {
			d.recognise(i, vocabulary.SignRemembered)
		}
	}
}

// learnProduct notes a product that a reply tells, for later sessions too.
func (d *Dialogue) learnProduct(product int, by vocabulary.Sign) {
	d.recognise(product, by)
	if banner := d.reach.known.banner; banner != "" {
		d.memory.Remember(banner, productRest)
		d.memory.Remember(banner+" "+d.policy.Rules.products[product].name, productRest)
	}
}

// offerTells looks for products in a good EHLO reply. It is newer than what is remembered.
func (d *Dialogue) offerTells(lines []string) {
	if d.reach == nil || len(d.policy.Rules.products) == 0 {
		return
	}
	text := strings.Join(lines, "\n")
	d.forgetProducts(vocabulary.SignRemembered)
	for i, p := range d.policy.Rules.products {
		if matches(p.offer, text) {
			d.learnProduct(i, vocabulary.SignEHLO)
		}
	}
	d.chooseRules()
}

// helpTells looks for products in a reply to HELP.
func (d *Dialogue) helpTells(raw []byte) {
	if s := d.observed.shadowOf(); s != nil {
		s.helpTells(raw)
	}
	if d.reach == nil || len(d.policy.Rules.products) == 0 {
		return
	}
	text := strings.Join(parseReply(raw).Lines, "\n")
	for i, p := range d.policy.Rules.products {
		if matches(p.help, text) {
			d.learnProduct(i, vocabulary.SignHELP)
		}
	}
	d.chooseRules()
}

// commandTells looks for products in the verb of the client's command.
func (d *Dialogue) commandTells(v Verb) {
	if d.reach == nil || !d.policy.Rules.says.Has(v) {
		return
	}
	for i, p := range d.policy.Rules.products {
		if p.says.Has(v) {
			d.recognise(i, vocabulary.SignCommand)
		}
	}
	d.chooseRules()
}

// bannerHash is a number for a greeting that changes with the server's name and its
// program, and not with the time or a number that each session has. Words with a digit
// do not count, but for versions such as 5.0.2172.1; nor do names of days and months.
func bannerHash(greeting string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	hash := uint64(offset)
	for word := range strings.FieldsSeq(greeting) {
		if isPassing(word) {
			continue
		}
		for _, c := range []byte(word) {
			hash = (hash ^ uint64(c)) * prime
		}
		hash = (hash ^ ' ') * prime
	}
	return hash
}

// isPassing reports whether a word of a greeting may be another one next time: one with
// a digit that is neither a version, such as 5.0.2172.1 or 8.6.12/8.6.9, nor a host name.
func isPassing(word string) bool {
	word = strings.Trim(word, "(),;")
	if len(word) == 3 && strings.Contains("Mon Tue Wed Thu Fri Sat Sun Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec", word) {
		return true
	}
	if !strings.ContainsAny(word, "0123456789") {
		return false
	}
	isVersion := strings.Trim(word, "0123456789./") == ""
	return !strings.Contains(word, ".") || !isVersion && isDigit(word[len(word)-1])
}
