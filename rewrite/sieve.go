package rewrite

// A sieve finds in one pass over a text which of many patterns it may match: those with
// a literal whose first two octets follow each other in it.
type sieve struct {
	first, second [classes]productSet // by the class of the octet that comes there
	always        productSet          // patterns of which that says nothing
}

// classes is the number of classes of octets. The class of an octet is its remainder: the
// tables are small, and a letter shares its class with digits, signs and octets beyond
// ASCII only.
const classes = 64

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
		s.first[literal[0]%classes] |= 1 << product
		s.second[literal[1]%classes] |= 1 << product
	}
}

// sift returns the products whose patterns may match a text.
func (s *sieve) sift(text []byte) productSet {
	found, begun := s.always, productSet(0)
	for _, c := range text {
		found |= begun & s.second[c%classes]
		begun = s.first[c%classes]
	}
	return found
}
