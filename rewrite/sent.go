package rewrite

// maxGroup bounds the commands that wait for replies at once.
const maxGroup = 64

// sentQueue are the commands whose replies are outstanding, oldest first.
type sentQueue struct {
	verbs   [maxGroup + 2]Verb
	head, n int
	lines   *sentLines // of those whose replies rules want to see; nil: none is kept
}

// sentLines are what clients said and what servers got for it, one behind the
// other, with their lengths by the command's place in the queue.
type sentLines struct {
	text    []byte
	done    int // of text
	lengths [maxGroup + 2]struct{ said, line uint16 }
}

func (q *sentQueue) push(v Verb) {
	at := (q.head + q.n) % len(q.verbs)
	q.verbs[at] = v
	if q.lines != nil {
		q.lines.lengths[at].said, q.lines.lengths[at].line = 0, 0
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
	at := (q.head + q.n - 1) % len(q.verbs)
	l.text = append(append(l.text, said...), line...)
	l.lengths[at].said, l.lengths[at].line = uint16(len(said)), uint16(len(line))
}

// count is how many commands with this verb are outstanding.
func (q *sentQueue) count(v Verb) (n int) {
	for i := range q.n {
		if q.verbs[(q.head+i)%len(q.verbs)] == v {
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
	if l := q.lines; l != nil {
		n := l.lengths[q.head]
		said = l.text[l.done : l.done+int(n.said)]
		line = l.text[l.done+int(n.said) : l.done+int(n.said)+int(n.line)]
		l.done += int(n.said) + int(n.line)
	}
	q.head = (q.head + 1) % len(q.verbs)
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
