package proxy

import (
	"io"
	"testing"
	"time"
)

func TestAFillThatIsInterruptedHasTakenNothing(t *testing.T) {
	near, far := connected(t)
	l := newLeg(far)
	c, err := newConduit()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	l.divert(c, conduitSize)
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
