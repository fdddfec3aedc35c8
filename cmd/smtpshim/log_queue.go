package main

import (
	"io"
	"os"
	"sync"
	"time"
)

// The largest number of lines, and of their octets, that wait for the reader of the log,
// including those being written.
const (
	queueLines  = 8192
	queueOctets = 1 << 20
)

const (
	// gathering is the time for which lines are collected before they are written
	// together. Waking the writer for each line would delay mail more than the line
	// itself.
	gathering = 20 * time.Millisecond

	// atomicWrite is the number of octets that a pipe accepts at one time or not at all
	// (PIPE_BUF, pipe(7)). Lines of two processes that share a pipe, as in an upgrade,
	// then stay whole.
	atomicWrite = 4096

	// lostLine is the number of octets reserved for a line about dropped lines.
	lostLine = 512

	// lastLines is the longest time that Close waits for the reader of the log.
	lastLines = 5 * time.Second
)

// A lineQueue writes lines to another writer from a goroutine of its own, so that nobody
// who logs waits for the reader of the log. Lines beyond the limits, and lines that the
// other writer refuses, are dropped and counted. A line with their number precedes the
// next line that fits. Lines keep their order.
type lineQueue struct {
	to   io.Writer
	most int // octets written at one time, if that is several lines

	wake   chan struct{} // has one element if there is something to write
	hurry  chan struct{} // closed: lines are not collected any longer
	ended  chan struct{} // closed when the writer has ended
	closer sync.Once

	mu      sync.Mutex
	lost    func(lines uint64) []byte // returns the line about this many dropped lines; nil: there is none
	waiting batch
	lines   int    // lines in waiting and being written
	octets  int    // octets of these lines
	dropped uint64 // lines dropped so far
	told    uint64 // lines dropped that were reported
	closed  bool
}

// A batch is a sequence of lines.
type batch struct {
	text []byte
	ends []int // the end of each line in text
}

// newLineQueue starts a queue of lines for w. If w is not a file, each line is one write.
func newLineQueue(w io.Writer) *lineQueue {
	q := &lineQueue{to: w, wake: make(chan struct{}, 1), hurry: make(chan struct{}), ended: make(chan struct{})}
	if _, ok := w.(*os.File); ok {
		q.most = atomicWrite
	}
	go q.run()
	return q
}

// Write queues line, or drops it if the queue is full or closed. It does not wait, and
// it never fails: the results are the length of line and nil.
func (q *lineQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.lines+2 > queueLines || q.octets+lostLine+len(line) > queueOctets {
		q.dropped++
		return len(line), nil
	}
	if q.dropped > q.told && q.lost != nil {
		q.add(q.lost(q.dropped - q.told))
		q.told = q.dropped
	}
	q.add(line)
	select {
	case q.wake <- struct{}{}:
	default: // it has been woken already
	}
	return len(line), nil
}

// tell sets the function that returns the line about dropped lines.
func (q *lineQueue) tell(lost func(lines uint64) []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lost = lost
}

// add queues a line. The lock must be held.
func (q *lineQueue) add(line []byte) {
	q.waiting.text = append(q.waiting.text, line...)
	q.waiting.ends = append(q.waiting.ends, len(q.waiting.text))
	q.lines++
	q.octets += len(line)
}

// Dropped returns the number of lines dropped so far.
func (q *lineQueue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// Close closes the queue, and waits until the queued lines are written, but for at most
// five seconds. Lines that come afterwards are dropped. The error is always nil.
func (q *lineQueue) Close() error {
	q.closer.Do(func() {
		q.mu.Lock()
		q.closed = true
		q.mu.Unlock()
		close(q.hurry)
	})
	late := time.NewTimer(lastLines)
	defer late.Stop()
	select {
	case <-q.ended:
	case <-late.C:
	}
	return nil
}

// run writes until the queue is closed.
func (q *lineQueue) run() {
	defer close(q.ended)
	pause := time.NewTimer(0)
	defer pause.Stop()
	var spare batch
	for closing := false; !closing; {
		select {
		case <-q.wake:
			pause.Reset(gathering)
			select {
			case <-pause.C:
			case <-q.hurry:
			}
		case <-q.hurry:
			closing = true // nothing is added any more
		}
		spare = q.writeAll(q.take(spare))
	}
}

// take returns what waits. From now on spare is used for new lines.
func (q *lineQueue) take(spare batch) batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.waiting
	q.waiting = spare
	return b
}

// keptBatch is the capacity, in octets, of the largest batch that is reused.
const keptBatch = 64 << 10

// writeAll writes lines and returns their memory for reuse.
func (q *lineQueue) writeAll(b batch) (spare batch) {
	for from, first := 0, 0; first < len(b.ends); {
		next := first + 1
		for next < len(b.ends) && b.ends[next]-from <= q.most {
			next++
		}
		end := b.ends[next-1]
		_, err := q.to.Write(b.text[from:end])
		q.wrote(next-first, end-from, err)
		from, first = end, next
	}
	if cap(b.text) > keptBatch {
		return batch{}
	}
	return batch{b.text[:0], b.ends[:0]}
}

// wrote makes room for what was written or refused.
func (q *lineQueue) wrote(lines, octets int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lines -= lines
	q.octets -= octets
	if err != nil {
		q.dropped += uint64(lines)
	}
}
