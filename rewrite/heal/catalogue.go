package heal

import (
	"slices"
	"strings"

	"smtpshim/rewrite"
)

// An Entry is one way in which old and modern SMTP do not work together. It does not list
// the rules that heal it: those name the entry in their field Entries.
type Entry struct {
	Number string // such as "L02"; rules refer to it
	Wrong  string // what goes wrong
	Source string // where this is documented
	How    string // how a rule can heal it, with the API of package rewrite

	Proxy  string // what the proxy heals of it without a rule; "": nothing
	Remark string // what to know about Proxy or about the rules
	Untold string // name of a set in [Untold] that heals it; "": there is none
	Left   string // what a rule could heal although none does
	Out    string // what rules leave alone, and why
	// As is set if the entry is a product: the numbers of the entries that apply to the
	// product. The product has no status of its own: see Coverage.Status.
	As []string
}

// A Subject is a chapter of the catalogue: the entries about one part of SMTP, such as the
// greeting or AUTH. Each [Entry] is one way in which old and modern SMTP do not work
// together.
type Subject struct {
	Name    string
	Entries []Entry
}

// Catalogue returns all entries, by subject and in the order of their numbers.
func Catalogue() []Subject {
	return []Subject{
		greetingEntries(), helloEntries(), authEntries(), envelopeEntries(), messageEntries(), replyEntries(), orderEntries(),
		tlsEntries(), productEntries(),
	}
}

// A Status says how much of an entry is healed.
type Status string

// The statuses of an entry.
const (
	Healed   Status = "healed"
	InPart   Status = "in part"    // some of it is healed
	Possible Status = "a rule can" // a rule could heal it, but nobody has written one
	StaysOut Status = "stays out"
)

// A Coverage says which rules heal which entries. [Cover] returns one.
type Coverage struct {
	rules   map[string][]string // by number of the entry, in the order of the table
	entries map[string]Entry
}

// Cover returns the Coverage of the catalogue entries in subjects: it says which of the
// given rules heal each entry. A rule heals the entries that its field Entries names.
func Cover(subjects []Subject, rules []rewrite.Rule) Coverage {
	c := Coverage{map[string][]string{}, map[string]Entry{}}
	for _, s := range subjects {
		for _, e := range s.Entries {
			c.entries[e.Number] = e
		}
	}
	for _, r := range rules {
		for _, number := range r.Entries {
			c.rules[number] = append(c.rules[number], r.Name)
		}
	}
	return c
}

// Entry returns the entry with this number, such as "L40". ok is false if there is none.
func (c Coverage) Entry(number string) (e Entry, ok bool) {
	e, ok = c.entries[number]
	return e, ok
}

// Rules returns the names of the rules that heal e or a part of it, in the order in
// which [Cover] got them. If e is a product (e.As is set), the rules that name e come
// first, and those that name the entries in e.As follow.
func (c Coverage) Rules(e Entry) []string {
	rules := slices.Clone(c.rules[e.Number])
	for _, number := range e.As {
		for _, rule := range c.rules[number] {
			if !slices.Contains(rules, rule) {
				rules = append(rules, rule)
			}
		}
	}
	return rules
}

// Status returns how much of e is healed. If e is a product (e.As is set), the result
// is the status of the entries in e.As, or InPart if they differ.
func (c Coverage) Status(e Entry) Status {
	if e.As != nil {
		first := c.Status(c.entries[e.As[0]])
		for _, number := range e.As[1:] {
			if c.Status(c.entries[number]) != first {
				return InPart
			}
		}
		return first
	}
	healed := c.rules[e.Number] != nil || e.Proxy != ""
	switch {
	case healed && e.Left == "" && e.Out == "":
		return Healed
	case healed:
		return InPart
	case e.Out != "" && e.Left == "" && e.How == "":
		return StaysOut
	}
	return Possible
}

// State returns a text for people: the status of e, what heals it, what is not healed,
// and why. Names of rules are in backquotes.
func (c Coverage) State(e Entry) string {
	var parts []string
	if e.As != nil {
		parts = append(parts, "as "+strings.Join(e.As, ", "))
	}
	if rules := c.rules[e.Number]; rules != nil {
		parts = append(parts, "`"+strings.Join(rules, "`, `")+"`")
	}
	parts = add(parts, "", e.Proxy)
	parts = add(parts, "", e.Remark)
	if e.Untold != "" {
		parts = append(parts, "auto does not look for the set `"+e.Untold+"`: "+Untold()[e.Untold])
	}
	parts = add(parts, "a rule can heal: ", e.Left)
	status := c.Status(e)
	if status == StaysOut {
		parts = add(parts, "", e.Out)
	} else {
		parts = add(parts, "stays out: ", e.Out)
	}
	if parts == nil {
		return string(status)
	}
	return string(status) + ": " + strings.Join(parts, "; ")
}

func add(parts []string, before, text string) []string {
	if text == "" {
		return parts
	}
	return append(parts, before+text)
}
