package rewrite

import "hash/maphash"

// A comparison is of all text that a filter gets with all that it returns, however it
// divides that. It has both as hashes, from the first piece on that the filter has not
// passed as it was: before that they are the same.
type comparison struct{ in, out maphash.Hash }

// compare adds a piece that the filter gets and what it returns for it.
func (f *textFilter) compare(text, made []byte) {
	if f.compared == nil {
		if same(made, text) {
			return
		}
		f.compared = new(comparison)
		f.compared.out.SetSeed(f.compared.in.Seed())
	}
	f.compared.in.Write(text)
	f.compared.out.Write(made)
}

// differs reports whether the filter has changed the text.
func (c *comparison) differs() bool { return c != nil && c.in.Sum64() != c.out.Sum64() }
