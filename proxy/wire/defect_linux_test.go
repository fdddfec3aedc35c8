//go:build !portable

package wire

import (
	"encoding/binary"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtpshim/proxy/smtptest"
)

// A boom panics when it is woken.
type boom struct{}

func (boom) wake() { panic("boom") }

// fakeSession is a session that a loop may lose.
type fakeSession struct {
	client, server *Leg
	lost           []*Defect
}

func (o *fakeSession) Legs() (client, server *Leg) { return o.client, o.server }
func (o *fakeSession) Lose(d *Defect)              { o.lost = append(o.lost, d) }
func (o *fakeSession) ResumeOn(*Runner)            {}

func TestAPanicInACallbackOfTheLoopEndsItsSessionAlone(t *testing.T) {
	log := new(smtptest.Log)
	l := startTestLoop(t, log)
	adopted := func() *socket {
		near, _ := connected(t)
		s, err := l.adopt(near, netip.MustParseAddrPort(near.RemoteAddr().String()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	client, server, other := adopted(), adopted(), adopted()
	o := &fakeSession{client: NewLeg(client), server: NewLeg(server)}
	panics := func(socket *socket) {
		socket.mu.Lock()
		socket.directions[writing].waiter = boom{} // behind the reading way, whose waiter names the session
		socket.mu.Unlock()
		l.each(1, func(int) { socket.event(l, unix.EPOLLOUT) }, func(int) watched { return socket })
	}
	lost := make(chan []*Defect)
	l.do(func() {
		l.begin(func(c *Runner) {
			if !c.MayIdle(o.client, o.server, time.Now().Add(time.Hour)) || !c.Idle(o, o.client, o.server) {
				t.Error("the session is not idle")
			}
		})
		panics(client)
		panics(other)
		lost <- o.lost
	})
	if got := <-lost; len(got) != 1 || got[0].Value != "boom" {
		t.Errorf("the session was lost for %v; want one panic", got)
	}
	if text := log.String(); strings.Count(text, "panic=boom") != 1 {
		t.Errorf("the panic of a socket without a session is not logged once in\n%s", text)
	}
}

func TestAPanicOfARunningSessionIsItsOwn(t *testing.T) {
	l := newTestLoop(t)
	near, _ := connected(t)
	s, err := l.adopt(near, netip.MustParseAddrPort(near.RemoteAddr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	o, owner := &fakeSession{client: NewLeg(s)}, make(chan Session)
	l.do(func() {
		l.begin(func(c *Runner) {
			c.Runs(o)
			s.bind(c)
			owner <- s.session()
		})
	})
	if got := <-owner; got != o || !owns(got, s) {
		t.Errorf("the socket belongs to %v; want %p", got, o)
	}
}

// A faulty descriptor panics when the loop hears of it.
type faulty struct{}

func (faulty) event(*loop, uint32) { panic("boom") }

func TestALoopGoesOnAfterPanicsOfItsCallbacks(t *testing.T) {
	log := new(smtptest.Log)
	l := startTestLoop(t, log)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	if err := l.watch(faulty{}, int(read.Fd()), unix.EPOLLIN|unix.EPOLLET); err != nil {
		t.Fatal(err)
	}
	write.WriteString("x")
	l.do(func() { panic("boom") })
	l.do(func() { l.begin(func(*Runner) { panic("boom") }) })
	for late := time.Now().Add(time.Minute); strings.Count(log.String(), "panic=boom") < 3; {
		if time.Now().After(late) {
			t.Fatalf("the log has\n%s", log)
		}
		done := make(chan int)
		l.do(func() { done <- len(l.resting) })
		if n := <-done; n != 0 {
			t.Fatal("a Runner that panicked is kept")
		}
	}
	l.unwatch(int(read.Fd()))
}

func TestABellCountsOneForEachRing(t *testing.T) {
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(bell)
	var counter [8]byte
	for range 3 {
		if err := ringBell(bell); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := unix.Read(bell, counter[:]); n != 8 || err != nil || nativeCounter(counter) != 3 {
		t.Errorf("%d after three rings, %d, %v", nativeCounter(counter), n, err)
	}
	full := nativeOctets(1<<64 - 2) // as full as it can be
	if _, err := unix.Write(bell, full[:]); err != nil {
		t.Fatal(err)
	}
	if err := ringBell(bell); err != nil {
		t.Errorf("ringing a full bell: %v", err)
	}
	if _, err := unix.Read(bell, counter[:]); err != nil || nativeCounter(counter) != 1 {
		t.Errorf("%d, %v after a full bell rang", nativeCounter(counter), err)
	}
}

func TestWhatEpollRefusesIsLoggedOnceASecond(t *testing.T) {
	log := new(smtptest.Log)
	l := &loop{loops: newTestLoops(t, log), epoll: -1, bell: -1}
	for range 3 {
		l.control(unix.EPOLL_CTL_MOD, 0, 0)
	}
	l.wait(make([]unix.EpollEvent, 1), 0)
	l.wait(make([]unix.EpollEvent, 1), 0)
	l.asleep = true
	l.wake()
	text := log.String()
	for _, call := range []string{"epoll_ctl", "epoll_wait", "write"} {
		if strings.Count(text, call+": bad file descriptor") != 1 {
			t.Errorf("%s is not logged once in\n%s", call, text)
		}
	}
}

func TestATurnThatHoldsTheLoopIsCounted(t *testing.T) {
	l := newTestLoop(t)
	done := make(chan struct{})
	l.do(func() {
		for began := time.Now(); time.Since(began) <= heldTurn; {
		}
	})
	for late := time.Now().Add(time.Minute); l.loops.HeldTurns() == 0; { // until the next turn
		if time.Now().After(late) {
			t.Fatal("a turn of over 100 ms is not counted")
		}
		l.do(func() { done <- struct{}{} })
		<-done
	}
}

func nativeCounter(b [8]byte) uint64 { return binary.NativeEndian.Uint64(b[:]) }

func nativeOctets(n uint64) (b [8]byte) {
	binary.NativeEndian.PutUint64(b[:], n)
	return b
}
