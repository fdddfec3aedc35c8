package rewrite

// A sieve finds in one pass over a text which of many patterns it may match: those with
// a literal whose first two octets follow each other in it.
type sieve struct {
	first, second [256]productSet // by the octet that comes there
	always        productSet      // patterns of which that says nothing
}

// add adds the pattern of a product.
func (s *sieve) add(product int, p *pattern) {
	if p == nil {
		return
	}
	if p.literals == nil || shortest(p.literals) < 2 {
		s.always |= 1 << product
		return
	}
	for _, literal := range p.literals {
		s.first[literal[0]] |= 1 << product
		s.second[literal[1]] |= 1 << product
	}
}

// sift returns the products whose patterns may match a text.
func (s *sieve) sift(text []byte) productSet {
	found, begun := s.always, productSet(0)
	for _, c := range text {
		found |= begun & s.second[c]
		begun = s.first[c]
	}
	return found
}
