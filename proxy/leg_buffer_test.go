package proxy

import (
	"bytes"
	"net"
	"testing"
	"time"
)

// A side that leaves off in the middle of something costs no large buffer, and loses
// nothing of what it has sent.
func TestAWaitKeepsNoLargerBufferThanItNeeds(t *testing.T) {
	t.Run("on a goroutine", func(t *testing.T) { keepsNoLargerBuffer(t, func() (net.Conn, net.Conn) { return connected(t) }) })
}

func keepsNoLargerBuffer(t *testing.T, connected func() (near, far net.Conn)) {
	for name, c := range map[string]struct {
		sent, consumed, kept int
		large                bool
	}{
		"nothing":                       {20_000, 20_000, 0, true},
		"two octets of a message":       {20_000, 19_998, smallBuffer, true},
		"a small buffer full":           {20_000, 20_000 - smallBuffer, middleBuffer, false},
		"the beginning of a line":       {100, 0, smallBuffer, false},
		"the beginning of a long line":  {20_000, 0, middleBuffer, false},
		"more than the middle one has":  {middleBuffer + 1, 0, largeBuffer, false},
		"the end of more than a middle": {middleBuffer + 1, middleBuffer, smallBuffer, false},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := connected()
			l := newLeg(near)
			l.large = c.large
			sent := bytes.Repeat([]byte("0123456789"), c.sent/10+1)[:c.sent]
			go far.Write(sent)
			for l.w < c.sent {
				if err := l.fill(time.Now().Add(20 * time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			l.consume(c.consumed)
			if err := l.fill(time.Now().Add(time.Millisecond)); !timedOut(err) {
				t.Fatalf("%v; want that nothing comes", err)
			}
			if len(l.buf) != c.kept {
				t.Errorf("a buffer of %d octets; want %d", len(l.buf), c.kept)
			}
			if !bytes.Equal(l.buffered(), sent[c.consumed:]) {
				t.Errorf("%d octets are there; want the %d last ones", len(l.buffered()), c.sent-c.consumed)
			}
		})
	}
}
