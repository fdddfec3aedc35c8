package rewrite

// maxGroup is the largest number of commands that may await replies at the same time.
const maxGroup = 64

// A sentQueue is a queue of the commands that await replies, oldest first.
type sentQueue struct {
	verbs   [maxGroup + 2]Verb
	head, n uint8
	lines   *sentLines // for commands whose replies rules see; nil: no line is kept
}

// sentLines holds, one after the other, what the client said and what the server was sent
// for each command. lengths is indexed like the queue. Most groups have one command, so
// lengths grows only as needed.
type sentLines struct {
	text    []byte
	done    int // octets of text that are no longer needed
	lengths []sentLengths

	// text and lengths begin in these, which suffice for most groups.
	firstText    [128]byte
	firstLengths [4]sentLengths
}

// sentLengths are lengths in octets; both are 0 if no line is kept.
type sentLengths struct{ said, line uint16 }

// place returns the index in verbs of the command that has i others before it.
func (q *sentQueue) place(i int) int { return (int(q.head) + i) % len(q.verbs) }

func (q *sentQueue) push(v Verb) {
	if q.n == 0 {
		q.head = 0
	}
	at := q.place(int(q.n))
	q.verbs[at] = v
	if q.lines != nil && at < len(q.lines.lengths) {
		q.lines.lengths[at] = sentLengths{}
	}
	q.n++
}

// pushLines is push that also keeps what the client said and what the server was sent.
func (q *sentQueue) pushLines(v Verb, said, line []byte) {
	if q.lines == nil {
		q.lines = &sentLines{}
		q.lines.text, q.lines.lengths = q.lines.firstText[:0], q.lines.firstLengths[:0]
	}
	q.push(v)
	l := q.lines
	if l.done >= len(l.text)-l.done { // in a long group the queue never becomes empty
		l.text, l.done = l.text[:copy(l.text, l.text[l.done:])], 0
	}
	l.text = append(append(l.text, said...), line...)
	at := q.place(int(q.n) - 1)
	for len(l.lengths) <= at {
		l.lengths = append(l.lengths, sentLengths{})
	}
	l.lengths[at] = sentLengths{uint16(len(said)), uint16(len(line))}
}

// count returns how many commands with this verb await replies.
func (q *sentQueue) count(v Verb) (n int) {
	for i := range int(q.n) {
		if q.verbs[q.place(i)] == v {
			n++
		}
	}
	return n
}

func (q *sentQueue) first() Verb { return q.verbs[q.head] }

// pop removes the oldest command. said and line are empty unless they were kept, and are
// valid until the next push.
func (q *sentQueue) pop() (v Verb, said, line []byte) {
	v = q.verbs[q.head]
	if l := q.lines; l != nil && int(q.head) < len(l.lengths) {
		n := l.lengths[q.head]
		said = l.text[l.done : l.done+int(n.said)]
		line = l.text[l.done+int(n.said) : l.done+int(n.said)+int(n.line)]
		l.done += int(n.said) + int(n.line)
	}
	q.head = uint8(q.place(1))
	q.n--
	return v, said, line
}

// forget removes all commands.
func (q *sentQueue) forget() {
	q.n = 0
	if q.lines != nil {
		q.lines.text, q.lines.done = q.lines.text[:0], 0
	}
}

// rest releases memory that is needed only while commands await replies.
func (q *sentQueue) rest() {
	if q.n == 0 {
		q.lines = nil
	}
}
