package proxy

import (
	"io"
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

func TestAFillThatIsInterruptedHasTakenNothing(t *testing.T) {
	near, far := connected(t)
	l := newLeg(far)
	c, err := newConduit()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	l.into, l.most = c, conduitSize
	if _, err := near.Write([]byte("12345")); err != nil {
		t.Fatal(err)
	}
	if err := l.fill(time.Now().Add(time.Minute)); err != nil || l.took != 5 {
		t.Fatalf("%v, and %d octets taken, want 5", err, l.took)
	}
	l.interrupt()
	if err := l.fill(time.Now().Add(time.Minute)); !l.interrupted(err) || l.took != 0 {
		t.Errorf("%v, and %d octets taken, want 0", err, l.took)
	}
}

func TestAWriteThatWasInterruptedBeforeItBeganDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe() // which is written to as TLS is
		defer far.Close()
		defer near.Close()
		l := newLeg(near)
		l.interruptWrite()
		began := time.Now()
		if err := l.write([]byte("x"), time.Hour); !isTimeout(err) || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// TestACommandThatWaitsForRoomDoesNotTakeTheTimeOfItsAnswer has the other side read
// only once the time for an answer would be over, counted from the beginning.
func TestACommandThatWaitsForRoomDoesNotTakeTheTimeOfItsAnswer(t *testing.T) {
	near, far := connected(t)
	l := newLeg(far)
	const allowed = 500 * time.Millisecond
	command := make([]byte, 64<<20)
	if !l.ask(command, time.Minute) {
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
	if err := l.fill(began.Add(allowed)); err != nil {
		t.Error(err)
	}
}

func TestAnOpaqueStretchThatIsQuietKeepsNoPipe(t *testing.T) {
	client, clientSide := connected(t)
	server, serverSide := connected(t)
	from, to := newLeg(clientSide), newLeg(serverSide)
	var b bulk
	defer b.end(from)
	send := func(octets int) {
		t.Helper()
		if _, err := client.Write(make([]byte, octets)); err != nil {
			t.Fatal(err)
		}
		for moved := 0; moved < octets; {
			before := from.total
			if err := from.fill(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, err := b.pass(to, from, time.Minute); err != nil {
				t.Fatal(err)
			}
			moved += int(from.total - before)
		}
	}
	const much = 3 * smallBuffer
	send(much)
	if from.into == nil {
		t.Error("no pipe, with much to move")
	}
	send(1)
	if from.into != nil || b.conduit != nil {
		t.Error("a pipe, with little to move")
	}
	if _, err := io.ReadFull(server, make([]byte, much+1)); err != nil {
		t.Error(err)
	}
}
