package rewrite

import "hash/maphash"

// A comparison compares all text that a filter gets with all text that it returns, in
// whatever pieces. It holds a hash of each, from the first piece on that the filter does
// not return as it is: until then both are the same.
type comparison struct{ in, out maphash.Hash }

// compare adds the piece text, which the filter f has got, and made, which it has returned
// for that piece. It does nothing if the rule of f is counted already.
func (m *Text) compare(f *textFilter, text, made []byte) {
	if m.applied.has(f.rule) || f.compared == nil && same(made, text) {
		return
	}
	if f.compared == nil {
		f.compared = new(comparison)
		f.compared.out.SetSeed(f.compared.in.Seed())
	}
	f.compared.in.Write(text)
	f.compared.out.Write(made)
}

// countChanges counts the rules whose filters have changed the message. It is called at
// the end of the message. In a message that is refused, no change is delivered.
func (m *Text) countChanges() {
	if m.refusal != "" {
		return
	}
	for i := range m.filters {
		f := &m.filters[i]
		if c := f.compared; c != nil && c.in.Sum64() != c.out.Sum64() {
			m.applied.add(f.rule)
		}
	}
}
