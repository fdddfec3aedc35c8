package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// A gate is a writer that takes nothing before it is opened.
type gate struct {
	entered chan struct{} // has one for each write that waits
	open    chan struct{}
	mu      sync.Mutex
	text    bytes.Buffer
	writes  int
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 1<<20), open: make(chan struct{})} }

func (g *gate) Write(b []byte) (int, error) {
	g.entered <- struct{}{}
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes++
	return g.text.Write(b)
}

func (g *gate) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.String()
}

func TestLinesAreWrittenInTheirOrderAndOneByOne(t *testing.T) {
	g := newGate()
	close(g.open)
	q := newLineQueue(g)
	var want strings.Builder
	for i := range 1000 {
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		if n, err := io.WriteString(q, line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	q.Close()
	if got := g.String(); got != want.String() || g.writes != 1000 {
		t.Errorf("%d writes, %d octets; want 1000, %d", g.writes, len(got), want.Len())
	}
	if n := q.Dropped(); n != 0 {
		t.Errorf("%d lines were dropped", n)
	}
	io.WriteString(q, "late\n")
	if n := q.Dropped(); n != 1 || strings.Contains(g.String(), "late") {
		t.Errorf("a line behind the end: %d dropped", n)
	}
}

// TestWhatIsDroppedIsCountedAndTold fills the queue, by lines and by octets.
func TestWhatIsDroppedIsCountedAndTold(t *testing.T) {
	for what, line := range map[string]string{"lines": "x\n", "octets": strings.Repeat("x", 999) + "\n"} {
		t.Run(what, func(t *testing.T) {
			g := newGate()
			q := newLineQueue(g)
			log := newLog(q, "text", slog.LevelInfo)
			log.Info("first")
			<-g.entered
			const n = 2 * queueLines
			for range n {
				io.WriteString(q, line)
			}
			dropped := q.Dropped()
			if dropped == 0 || dropped > n {
				t.Fatalf("%d dropped of %d", dropped, n)
			}
			close(g.open)
			for q.unwritten() > 0 {
				runtime.Gosched()
			}
			log.Info("next")
			q.Close()
			got := strings.Split(strings.TrimSuffix(g.String(), "\n"), "\n")
			if want := n - int(dropped) + 3; len(got) != want {
				t.Errorf("%d lines; want %d", len(got), want)
			}
			last := got[len(got)-2:]
			if !strings.HasSuffix(last[0], fmt.Sprintf("msg=\"lines of the log were dropped: nobody read them in time\" lines=%d", dropped)) ||
				!strings.HasSuffix(last[1], "msg=next") {
				t.Errorf("the last lines are %q", last)
			}
			if octets := len(line) * (n - int(dropped)); octets > queueOctets {
				t.Errorf("%d octets waited", octets)
			}
		})
	}
}

// unwritten is how many lines are not written yet.
func (q *lineQueue) unwritten() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lines
}

func TestLinesThatAFileRefusesAreCounted(t *testing.T) {
	q := newLineQueue(refusing{})
	for range 3 {
		io.WriteString(q, "x\n")
	}
	q.Close()
	if n := q.Dropped(); n != 3 {
		t.Errorf("%d dropped; want 3", n)
	}
}

type refusing struct{}

func (refusing) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestLinesOfABatchStayWholeInEachWrite(t *testing.T) {
	var w chunks
	q := &lineQueue{to: &w, most: 10}
	var b batch
	for _, line := range []string{"1234\n", "1234\n", "1\n", "a line of its own\n", "2\n", "3\n"} {
		b.text = append(b.text, line...)
		b.ends = append(b.ends, len(b.text))
	}
	q.writeAll(b)
	if got, want := fmt.Sprintf("%q", w), `["1234\n1234\n" "1\n" "a line of its own\n" "2\n3\n"]`; got != want {
		t.Errorf("%s; want %s", got, want)
	}
}

type chunks []string

func (c *chunks) Write(b []byte) (int, error) {
	*c = append(*c, string(b))
	return len(b), nil
}
