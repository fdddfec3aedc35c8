package wire

import (
	"io"
	"testing"
	"time"
)

func TestAFillThatIsInterruptedHasTakenNothing(t *testing.T) {
	near, far := connected(t)
	l := NewLeg(far)
	c, err := NewSplicePipe()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l.Divert(c, SplicePipeSize)
	if _, err := near.Write([]byte("12345")); err != nil {
		t.Fatal(err)
	}
	if err := l.Fill(time.Now().Add(time.Minute)); err != nil || l.took != 5 {
		t.Fatalf("%v, and %d octets taken, want 5", err, l.took)
	}
	l.Interrupt()
	if err := l.Fill(time.Now().Add(time.Minute)); !l.Interrupted(err) || l.took != 0 {
		t.Errorf("%v, and %d octets taken, want 0", err, l.took)
	}
}

func TestAnOpaqueStretchThatIsQuietKeepsNoPipe(t *testing.T) {
	client, clientSide := connected(t)
	server, serverSide := connected(t)
	from, to := NewLeg(clientSide), NewLeg(serverSide)
	var b Bulk
	defer b.End(from)
	send := func(octets int) {
		t.Helper()
		if _, err := client.Write(make([]byte, octets)); err != nil {
			t.Fatal(err)
		}
		for moved := 0; moved < octets; {
			before := from.Total
			if err := from.Fill(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Pass(to, from, time.Minute); err != nil {
				t.Fatal(err)
			}
			moved += int(from.Total - before)
		}
	}
	const much = 3 * SmallBuffer
	send(much)
	if from.into == nil {
		t.Error("no pipe, with much to move")
	}
	send(1)
	if from.into != nil || b.pipe != nil {
		t.Error("a pipe, with little to move")
	}
	if _, err := io.ReadFull(server, make([]byte, much+1)); err != nil {
		t.Error(err)
	}
}
