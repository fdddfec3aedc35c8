package rewrite

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"smtpshim/rewrite/vocabulary"
)

// Signs say how a session recognises a product. One of them is enough. Greeting, Offer
// and Help are regular expressions (RE2), matched against the text of a whole reply,
// without codes and with LF between lines. "" matches nothing. An expression is cheap
// if every match contains some literal text, such as "Domino": it is then hardly ever
// run on replies without that text.
type Signs struct {
	Greeting string  // the server's greeting
	Offer    string  // the server's positive reply to EHLO, including the first line
	Help     string  // the server's reply to HELP, which clients rarely send
	Says     VerbSet // the client has sent a command with one of these verbs
}

// A Product is a product that a session recognises, and the kind of sign that shows it.
type Product struct {
	Name string // the name of its set
	By   vocabulary.Sign
}

// maxProducts is the largest number of products that may be looked for on one route.
const maxProducts = 64

// A productSet is a set of products, each identified by its index in Rules.products.
type productSet uint64

func (s productSet) has(i int) bool { return s&(1<<i) != 0 }

// A product is a set whose signs are looked for.
type product struct {
	name                  string
	greeting, offer, help *pattern // nil: there is no such sign
	says                  VerbSet
}

// lookFor makes the rules look for the products of these sets.
func (r *Rules) lookFor(sets []Set) (errs []error) {
	if len(sets) > maxProducts {
		return []error{&ConfigError{Err: fmt.Errorf("%d products are chosen; a route may have at most %d", len(sets), maxProducts)}}
	}
	r.greetings, r.offered = new(sieve), new(sieve)
	for _, s := range sets {
		p := product{name: s.Name, says: s.Signs.Says}
		for text, to := range map[*string]**pattern{
			&s.Signs.Greeting: &p.greeting, &s.Signs.Offer: &p.offer, &s.Signs.Help: &p.help,
		} {
			if *text == "" {
				continue
			}
			sign, err := newPattern(*text)
			if err != nil {
				errs = append(errs, &ConfigError{Rule: s.Name, Err: fmt.Errorf("the set %s has a sign that is not a regular expression (RE2): %w", s.Name, err)})
			}
			*to = sign
		}
		r.products = append(r.products, p)
		r.greetings.add(len(r.products)-1, p.greeting)
		r.offered.add(len(r.products)-1, p.offer)
		r.scoped, r.says = true, r.says|p.says
	}
	return errs
}

// Products returns the names of the products that sessions under r look for. Each is
// the name of a set.
func (r *Rules) Products() []string {
	if r == nil {
		return nil
	}
	return r.productNames(1<<len(r.products) - 1)
}

// Shown returns the products that sessions under r look for, each once for every kind
// of sign that can show it.
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

// besideProducts returns the set of rules that do not act in a session with these
// products: rules for other products, and variants of a rule that a product replaces.
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

// A recognition is what a session knows about the products of its client and server.
type recognition struct {
	found  []found
	told   productSet // the tracer was told of these
	banner string     // key in the memory of a server with this greeting; "": none
}

// A found is a product, by its index, and the sign that has shown it.
type found struct {
	product int
	by      vocabulary.Sign
}

// Products returns the products that the session has recognised: those of the server of
// the present connection, and those of the client.
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

// recognise records a product, unless it is already known.
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

// signText describes a sign for people.
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

// forgetProducts drops the products that these signs have shown.
func (d *Dialogue) forgetProducts(signs ...vocabulary.Sign) {
	k := &d.reach.known
	k.found = slices.DeleteFunc(k.found, func(f found) bool { return slices.Contains(signs, f.by) })
}

// chooseRules makes the rules act that the recognised products need.
func (d *Dialogue) chooseRules() {
	var all productSet
	for _, f := range d.reach.known.found {
		all |= 1 << f.product
	}
	if d.reach.products = d.policy.Rules.start.products; all != 0 {
		d.reach.products = d.policy.Rules.besideProducts(all)
	}
	d.reach.sum()
}

// productRest is the number of seconds for which a server's product is remembered if a
// reply and not the greeting has shown it.
const productRest = 24 * 60 * 60

// greetingTells looks for products in the greeting of a server. It drops what an earlier
// connection has shown, because this may be another server.
func (d *Dialogue) greetingTells(text []byte) {
	products := d.policy.Rules.products
	if len(products) == 0 {
		return
	}
	d.forgetProducts(vocabulary.SignGreeting, vocabulary.SignEHLO, vocabulary.SignHELP, vocabulary.SignRemembered)
	for may := d.policy.Rules.greetings.sift(text); may != 0; may &= may - 1 {
		if i := bits.TrailingZeros64(uint64(may)); products[i].greeting.matches(text) {
			d.recognise(i, vocabulary.SignGreeting)
		}
	}
	if d.memory != nil {
		d.remembered(string(text))
	}
	d.chooseRules()
}

// remembered looks for products that an earlier session has found behind the same
// greeting.
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

// learnProduct records a product that a reply has shown, and remembers it for later
// sessions.
func (d *Dialogue) learnProduct(product int, by vocabulary.Sign) {
	d.recognise(product, by)
	if banner := d.reach.known.banner; banner != "" {
		d.memory.Remember(banner, productRest)
		d.memory.Remember(banner+" "+d.policy.Rules.products[product].name, productRest)
	}
}

// offerTells looks for products in a positive EHLO reply. The reply overrides what is
// remembered.
func (d *Dialogue) offerTells(lines []string) {
	if d.reach == nil || len(d.policy.Rules.products) == 0 {
		return
	}
	var room [ordinaryText]byte
	text := joinLines(room[:0], lines)
	d.forgetProducts(vocabulary.SignRemembered)
	products := d.policy.Rules.products
	for may := d.policy.Rules.offered.sift(text); may != 0; may &= may - 1 {
		if i := bits.TrailingZeros64(uint64(may)); products[i].offer.matches(text) {
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
	var room [ordinaryText]byte
	text := textOf(room[:0], raw)
	for i, p := range d.policy.Rules.products {
		if p.help.matches(text) {
			d.learnProduct(i, vocabulary.SignHELP)
		}
	}
	d.chooseRules()
}

// joinLines appends lines to b, with LF between them.
func joinLines(b []byte, lines []string) []byte {
	separator := ""
	for _, line := range lines {
		b, separator = append(b, separator...), "\n"
		b = append(b, line...)
	}
	return b
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

// bannerHash returns a hash of a greeting that depends on the names of server and
// program, and not on the time or a session number. It ignores words with a digit, other
// than versions such as 5.0.2172.1 and host names, and the names of days and months.
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

// isPassing reports whether a word of a greeting may be different next time. Such a word
// has a digit and is neither a version, such as 5.0.2172.1 or 8.6.12/8.6.9, nor a host
// name; or it names a day or a month.
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
