package wire

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
		"two octets of a message":       {20_000, 19_998, SmallBuffer, true},
		"a small buffer full":           {20_000, 20_000 - SmallBuffer, MiddleBuffer, false},
		"the beginning of a line":       {100, 0, SmallBuffer, false},
		"the beginning of a long line":  {20_000, 0, MiddleBuffer, false},
		"more than the middle one has":  {MiddleBuffer + 1, 0, largeBuffer, false},
		"the end of more than a middle": {MiddleBuffer + 1, MiddleBuffer, SmallBuffer, false},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := connected()
			l := NewLeg(near)
			l.Large = c.large
			sent := bytes.Repeat([]byte("0123456789"), c.sent/10+1)[:c.sent]
			go far.Write(sent)
			for l.w < c.sent {
				if err := l.Fill(time.Now().Add(20 * time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			l.Consume(c.consumed)
			if err := l.Fill(time.Now().Add(time.Millisecond)); !IsTimeout(err) {
				t.Fatalf("%v; want that nothing comes", err)
			}
			if len(l.buf) != c.kept {
				t.Errorf("a buffer of %d octets; want %d", len(l.buf), c.kept)
			}
			if !bytes.Equal(l.Buffered(), sent[c.consumed:]) {
				t.Errorf("%d octets are there; want the %d last ones", len(l.Buffered()), c.sent-c.consumed)
			}
		})
	}
}

// What a leg reads and writes with is for the next leg once it is closed, unless a panic may
// have left somebody who still uses it.
func TestAClosedLegReturnsItsStateUnlessItWasForgotten(t *testing.T) {
	for _, forgotten := range []bool{false, true} {
		near, far := connected(t)
		l := NewLeg(near)
		go far.Write([]byte("220 mail.example.com\r\n"))
		if err := l.Fill(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		state, buf := l.ioState, l.buf
		if state == nil || buf == nil {
			t.Fatal("a leg that has read has no state or no buffer")
		}
		if forgotten {
			l.Forget()
			l.buf = buf // as a goroutine that still reads would set it
		}
		l.Close()
		if kept := state.leg == l; kept != forgotten {
			t.Errorf("forgotten %v: the state belongs to the leg: %v", forgotten, kept)
		}
		if l.buf != nil {
			t.Errorf("forgotten %v: the leg has a buffer after Close", forgotten)
		}
	}
}
