package wire

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// connected are the ends of a TCP connection.
func connected(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func TestAWriteThatWasInterruptedBeforeItBeganDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe() // which is written to as TLS is
		defer far.Close()
		defer near.Close()
		l := NewLeg(near)
		l.InterruptWrite()
		began := time.Now()
		if err := l.Write([]byte("x"), time.Hour); !IsTimeout(err) || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// TestACommandThatWaitsForRoomDoesNotTakeTheTimeOfItsAnswer has the other side read
// only once the time for an answer would be over, counted from the beginning.
func TestACommandThatWaitsForRoomDoesNotTakeTheTimeOfItsAnswer(t *testing.T) {
	near, far := connected(t)
	l := NewLeg(far)
	const allowed = 500 * time.Millisecond
	command := make([]byte, 64<<20)
	if !l.Ask(command, time.Minute) {
		t.Fatal("cannot ask")
	}
	began := time.Now()
	go func() {
		<-time.After(2 * allowed)
		buf := make([]byte, 1<<20)
		for n := 0; n < len(command); {
			k, err := near.Read(buf)
			if err != nil {
				return
			}
			n += k
		}
		near.Write([]byte("250 ok\r\n"))
	}()
	if err := l.Fill(began.Add(allowed)); err != nil {
		t.Error(err)
	}
}

// Whoever ends a wait may come before it: what happened then must not wait for
// the timeout.
func TestAnInterruptIsNotLostBetweenTwoReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		l := NewLeg(near)
		for _, after := range []time.Duration{0, time.Second} {
			if after == 0 {
				l.Interrupt()
			} else {
				time.AfterFunc(after, l.Interrupt)
			}
			began := time.Now()
			if err := l.Fill(began.Add(time.Hour)); !l.Interrupted(err) || time.Since(began) != after {
				t.Errorf("%v after %v, want an interrupt after %v", err, time.Since(began), after)
			}
			began = time.Now()
			if err := l.Fill(began.Add(time.Minute)); !IsTimeout(err) || l.Interrupted(err) || time.Since(began) != time.Minute {
				t.Errorf("the fill behind it: %v after %v", err, time.Since(began))
			}
		}
	})
}
