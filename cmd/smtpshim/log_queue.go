package main

import (
	"io"
	"os"
	"sync"
	"time"
)

// What waits at most for whoever reads the log: lines, and octets of them, those that
// are being written included.
const (
	queueLines  = 8192
	queueOctets = 1 << 20
)

const (
	// gathering is how long lines are gathered before they are written together: to
	// wake the writer for each costs mail more than the line itself.
	gathering = 20 * time.Millisecond

	// atomicWrite is how many octets a pipe takes at once or not at all (PIPE_BUF,
	// pipe(7)): the lines of two processes that share it, as in an upgrade, stay whole.
	atomicWrite = 4096

	// lostLine is the room that is kept for a line that tells of lines dropped.
	lostLine = 512

	// lastLines is how long Close waits for whoever reads the log.
	lastLines = 5 * time.Second
)

// A lineQueue writes lines to another writer, from a goroutine of its own: nobody who
// logs waits for whoever reads the log. Lines beyond the bounds are dropped and
// counted, and so are those that the other writer refuses; the next line that fits
// comes behind one that says how many. Lines keep their order.
type lineQueue struct {
	to   io.Writer
	most int // octets that are written at once, if there are several lines

	wake   chan struct{} // has one when there is something to write
	hurry  chan struct{} // closed: lines are no longer gathered
	ended  chan struct{} // closed once the writer has ended
	closer sync.Once

	mu      sync.Mutex
	lost    func(lines uint64) []byte // makes the line that says how many were dropped; nil: there is none
	waiting batch
	lines   int    // in waiting, and those being written
	octets  int    // of them
	dropped uint64 // so far
	told    uint64 // of those dropped, how many a line tells of
	closed  bool
}

// A batch is lines, one behind the other.
type batch struct {
	text []byte
	ends []int // of each line in text
}

// newLineQueue starts a queue of lines for w, which is written to line by line unless
// it is a file.
func newLineQueue(w io.Writer) *lineQueue {
	q := &lineQueue{to: w, wake: make(chan struct{}, 1), hurry: make(chan struct{}), ended: make(chan struct{})}
	if _, ok := w.(*os.File); ok {
		q.most = atomicWrite
	}
	go q.run()
	return q
}

// Write takes one line, or drops it. It neither waits nor fails.
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
	default: // it is awake
	}
	return len(line), nil
}

// tell has lines made by lost tell of lines that were dropped.
func (q *lineQueue) tell(lost func(lines uint64) []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lost = lost
}

// add queues a line. The lock is held.
func (q *lineQueue) add(line []byte) {
	q.waiting.text = append(q.waiting.text, line...)
	q.waiting.ends = append(q.waiting.ends, len(q.waiting.text))
	q.lines++
	q.octets += len(line)
}

// Dropped is how many lines were dropped so far.
func (q *lineQueue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// Close writes what waits, for at most five seconds, and ends the queue. What comes
// later is dropped.
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
			closing = true // and nothing is added any more
		}
		spare = q.writeAll(q.take(spare))
	}
}

// take returns what waits, for which spare is used from now on.
func (q *lineQueue) take(spare batch) batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.waiting
	q.waiting = spare
	return b
}

// keptBatch is how much room for lines is kept for the next ones.
const keptBatch = 64 << 10

// writeAll writes lines, and returns their room.
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

// wrote makes room for as much as was written, or refused.
func (q *lineQueue) wrote(lines, octets int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lines -= lines
	q.octets -= octets
	if err != nil {
		q.dropped += uint64(lines)
	}
}
