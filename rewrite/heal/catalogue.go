package heal

import (
	"slices"
	"strings"

	"smtpshim/rewrite"
)

// An Entry is one way in which old and modern SMTP miss each other. Which rules
// heal it is not written here: they say so in their field Entries.
type Entry struct {
	Number string // as rules name it: "L02"
	Wrong  string // what goes wrong
	Source string // who says so
	How    string // what a rule does about it, as fields of [rewrite.Actions] and calls

	Proxy  string   // what heals it, in whole or in part, without a rule
	Remark string   // what one has to know about that, or about the rules
	Untold string   // the set for it, if that is one of [Untold]
	Left   string   // what a rule could heal and none does
	Out    string   // what stays out of the rules, and why
	As     []string // a product has no state of its own: it does what these entries say
}

// A Subject is a group of entries.
type Subject struct {
	Name    string
	Entries []Entry
}

// Catalogue lists all entries, by number.
func Catalogue() []Subject {
	return []Subject{
		greetingEntries(), helloEntries(), authEntries(), envelopeEntries(), messageEntries(), replyEntries(), orderEntries(),
		tlsEntries(), productEntries(),
	}
}

// A Status says how much of an entry is healed.
type Status string

// The statuses of entries.
const (
	Healed   Status = "healed"
	InPart   Status = "in part"    // some of it is healed
	Possible Status = "a rule can" // nobody has written the rule yet
	StaysOut Status = "stays out"
)

// A Coverage knows which rules heal each entry.
type Coverage struct {
	rules   map[string][]string // by number, in the order of the table
	entries map[string]Entry
}

// Cover compares the catalogue with the Entries of rules.
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

// Entry returns the entry with this number, and whether there is one.
func (c Coverage) Entry(number string) (e Entry, ok bool) {
	e, ok = c.entries[number]
	return e, ok
}

// Rules lists the rules that heal an entry or a part of it, in the order of the
// table. Those of a product are its own, then those of the entries that it is like.
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

// Status returns how much of an entry is healed. A product is healed if all
// entries that it is like are.
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

// State returns the status of an entry in words: what heals it, what does not,
// and why. Names of rules stand in backquotes.
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
