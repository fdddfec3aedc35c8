package journal

// A ring holds the last entries that fit into it.
type ring struct {
	entries []Entry // n of them are used, from oldest on; the first comes after the last
	oldest  int
	n       int
	octets  int // of those that are used
	most    int // octets
}

// add adds an entry. The oldest ones make room for it. An entry that is larger than the
// ring is not kept.
func (r *ring) add(e *Entry) {
	if r.n == len(r.entries) {
		r.drop()
	}
	r.entries[(r.oldest+r.n)%len(r.entries)] = *e
	r.n++
	r.octets += e.Size()
	for r.octets > r.most {
		r.drop()
	}
}

// drop drops the oldest entry.
func (r *ring) drop() {
	e := &r.entries[r.oldest]
	r.octets -= e.Size()
	*e = Entry{}
	r.oldest = (r.oldest + 1) % len(r.entries)
	r.n--
}

// all returns a copy of the entries, oldest first.
func (r *ring) all() []Entry {
	list := make([]Entry, 0, r.n)
	for i := range r.n {
		list = append(list, r.entries[(r.oldest+i)%len(r.entries)])
	}
	return list
}
