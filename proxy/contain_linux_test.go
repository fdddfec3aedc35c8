//go:build !portable

package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtpshim/proxy/smtptest"
)

// A lockedBuffer is written to and read by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// starttlsServer is a server that goes opaque after STARTTLS and says what it hears.
func starttlsServer(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				smtptest.Play(conn, time.Minute, smtptest.Say("220 a ESMTP"), smtptest.Expect("EHLO c"),
					smtptest.Say("250-a"), smtptest.Say("250 STARTTLS"), smtptest.Expect("STARTTLS"), smtptest.Say("220 go"),
					smtptest.Expect("sealed"), smtptest.Say("sealed too"), smtptest.ExpectEnd())
			}()
		}
	}()
	return l.Addr().String()
}

// awaitParked waits until the one session of a proxy is parked, and returns it.
func awaitParked(t *testing.T, p *Proxy) *session {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); !isParked(p); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("no session is parked")
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.sessions {
		return s
	}
	return nil
}

// inLoopOf runs f in the loop of a session.
func inLoopOf(s *session, f func()) {
	done, l := make(chan struct{}), s.client.socket().loop
	l.do(func() {
		defer close(done)
		f()
	})
	<-done
}

// parkedSession is a session that waits for its client, who has the greeting and the
// answer to EHLO.
func parkedSession(t *testing.T) (log *lockedBuffer, p *Proxy, s *session, client net.Conn) {
	t.Helper()
	log = new(lockedBuffer)
	p = &Proxy{Logger: slog.New(slog.NewTextHandler(log, nil))}
	t.Cleanup(func() { p.Close() })
	if err := p.Apply([]*Route{{Name: "in", Listen: []string{"127.0.0.1:0"}, Servers: []string{starttlsServer(t)}}}); err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", p.Addr("127.0.0.1:0").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := smtptest.Play(client, time.Minute, smtptest.Expect("220 a ESMTP"), smtptest.Say("EHLO c"),
		smtptest.Expect("250-a"), smtptest.Expect("250 STARTTLS")); err != nil {
		t.Fatal(err)
	}
	return log, p, awaitParked(t, p), client
}

// wantDefect wants the session to end for a defect that is logged once.
func wantDefect(t *testing.T, p *Proxy, log *lockedBuffer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Drain(ctx); err != nil {
		t.Error(err)
	}
	text := log.String()
	if n := strings.Count(text, "level=ERROR"); n != 1 || !strings.Contains(text, "panic=boom stack=") || !strings.Contains(text, "outcome=defect") {
		t.Errorf("%d errors are logged in\n%s", n, text)
	}
}

// panics does within a read, if it is to.
type panics struct {
	of  quiet
	now func() bool
}

func (p panics) quiet() {
	if p.now() {
		panic("boom")
	}
	p.of.quiet()
}

func (p panics) look(f func(fd uintptr) bool) (looked bool, err error) { return p.of.look(f) }

func TestAPanicInAnOpaqueStretchEndsItWithoutAWord(t *testing.T) {
	for half, leg := range map[string]func(*session) *leg{
		"from the client": func(s *session) *leg { return s.client },
		"from the server": func(s *session) *leg { return s.server },
	} {
		t.Run(half, func(t *testing.T) {
			log, p, s, client := parkedSession(t)
			inLoopOf(s, func() {
				l := leg(s)
				l.quiet = panics{l.quiet, func() bool { return s.mute }}
			})
			smtptest.Play(client, time.Minute, smtptest.Say("STARTTLS"), smtptest.Expect("220 go"), smtptest.Say("sealed"))
			if err := smtptest.Play(client, time.Minute, smtptest.ExpectEnd()); err != nil {
				t.Error(err)
			}
			wantDefect(t, p, log)
		})
	}
}

func TestAPanicWithinAReadLeavesNoLockBehind(t *testing.T) {
	log, p, s, client := parkedSession(t)
	inLoopOf(s, func() { s.client.quiet = panics{s.client.quiet, func() bool { return true }} })
	if err := smtptest.Play(client, time.Minute, smtptest.Say("NOOP"), smtptest.Expect("421 4.3.0 internal error"), smtptest.ExpectEnd()); err != nil {
		t.Error(err)
	}
	wantDefect(t, p, log)
}

// A boom panics when it is woken.
type boom struct{}

func (boom) wake() { panic("boom") }

func TestAPanicInACallbackOfTheLoopEndsItsSessionAlone(t *testing.T) {
	log, p, s, client := parkedSession(t)
	socket := s.client.socket()
	inLoopOf(s, func() {
		socket.guardedBy(t, s)
		socket.mu.Lock()
		socket.ways[writing].waiter = boom{} // behind the reading way, whose waiter names the session
		socket.mu.Unlock()
		l := socket.loop
		l.each(1, func(int) { socket.event(l, unix.EPOLLOUT) }, func(int) watched { return socket })
	})
	if err := smtptest.Play(client, time.Minute, smtptest.ExpectEnd()); err != nil {
		t.Error(err)
	}
	wantDefect(t, p, log)
}

// guardedBy wants the loop to know whose socket it is.
func (s *socket) guardedBy(t *testing.T, owner *session) {
	if got := s.session(); got != owner || !owner.owns(s) {
		t.Errorf("the socket belongs to %p; want %p", got, owner)
	}
}

// A faulty descriptor panics when the loop hears of it.
type faulty struct{}

func (faulty) event(*loop, uint32) { panic("boom") }

func TestALoopGoesOnAfterPanicsOfItsCallbacks(t *testing.T) {
	log := new(lockedBuffer)
	p := &Proxy{Logger: slog.New(slog.NewTextHandler(log, nil))}
	p.prepare()
	l, err := startLoop(p)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	defer l.close()
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
	l.do(func() { l.begin(func(*coroutine) { panic("boom") }) })
	for late := time.Now().Add(time.Minute); strings.Count(log.String(), "panic=boom") < 3; {
		if time.Now().After(late) {
			t.Fatalf("the log has\n%s", log)
		}
		done := make(chan int)
		l.do(func() { done <- len(l.resting) })
		if n := <-done; n != 0 {
			t.Fatal("a coroutine that panicked is kept")
		}
	}
	l.unwatch(int(read.Fd()))
}

func TestACrewSurvivesAPanic(t *testing.T) {
	log := new(lockedBuffer)
	p := &Proxy{Logger: slog.New(slog.NewTextHandler(log, nil))}
	p.prepare()
	defer p.Close()
	done := make(chan struct{})
	p.crew.do(func() {
		defer close(done)
		panic("boom")
	})
	<-done
	again := make(chan struct{})
	p.crew.do(func() { close(again) })
	<-again
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
	log := new(lockedBuffer)
	l := &loop{proxy: &Proxy{Logger: slog.New(slog.NewTextHandler(log, nil))}, epoll: -1, bell: -1}
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
	for l.proxy.TurnsHeld() == 0 { // until the next turn
		l.do(func() { done <- struct{}{} })
		<-done
	}
}

func nativeCounter(b [8]byte) uint64 { return binary.NativeEndian.Uint64(b[:]) }

func nativeOctets(n uint64) (b [8]byte) {
	binary.NativeEndian.PutUint64(b[:], n)
	return b
}
