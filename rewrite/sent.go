package rewrite

// maxGroup bounds the commands that wait for replies at once.
const maxGroup = 64

// sentQueue are the commands whose replies are outstanding, oldest first.
type sentQueue struct {
	verbs   [maxGroup + 2]Verb
	head, n uint8
	lines   *sentLines // of those whose replies rules want to see; nil: none is kept
}

// sentLines are what clients said and what servers got for it, one behind the
// other, with their lengths by the command's place in the queue. Most groups are
// of one command: the lengths are as many as the group needed so far.
type sentLines struct {
	text    []byte
	done    int // of text
	lengths []sentLengths
}

// sentLengths are in octets; both are 0 where no line is kept.
type sentLengths struct{ said, line uint16 }

// place is where the command is that i others are before.
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

// pushLines is push with what the client said, and what the server got for it.
func (q *sentQueue) pushLines(v Verb, said, line []byte) {
	if q.lines == nil {
		q.lines = &sentLines{}
	}
	q.push(v)
	l := q.lines
	if l.done >= len(l.text)-l.done { // a group that goes on and on never empties the queue
		l.text, l.done = l.text[:copy(l.text, l.text[l.done:])], 0
	}
	l.text = append(append(l.text, said...), line...)
	at := q.place(int(q.n) - 1)
	for len(l.lengths) <= at {
		l.lengths = append(l.lengths, sentLengths{})
	}
	l.lengths[at] = sentLengths{uint16(len(said)), uint16(len(line))}
}

// count is how many commands with this verb are outstanding.
func (q *sentQueue) count(v Verb) (n int) {
	for i := range int(q.n) {
		if q.verbs[q.place(i)] == v {
			n++
		}
	}
	return n
}

func (q *sentQueue) first() Verb { return q.verbs[q.head] }

// pop takes the oldest command. said and line are empty unless they were kept,
// and good until the next push.
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

// forget drops every command, without a reply.
func (q *sentQueue) forget() {
	q.n = 0
	if q.lines != nil {
		q.lines.text, q.lines.done = q.lines.text[:0], 0
	}
}

// rest gives back what only outstanding commands need.
func (q *sentQueue) rest() {
	if q.n == 0 {
		q.lines = nil
	}
}
