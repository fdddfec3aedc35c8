//go:build !portable

package wire

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newTestLoop(t *testing.T) *loop {
	t.Helper()
	return startTestLoop(t, io.Discard)
}

// startTestLoop starts a loop with a log.
func startTestLoop(t *testing.T, log io.Writer) *loop {
	t.Helper()
	l, err := startLoop(newTestLoops(t, log))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

// inLoop is a connection whose near end is in a loop, and is waited for by goroutines.
func inLoop(t *testing.T) (near *socket, far *net.TCPConn) {
	t.Helper()
	l := newTestLoop(t)
	a, b := connected(t)
	near, err := l.adopt(a, netip.MustParseAddrPort(a.RemoteAddr().String()))
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	t.Cleanup(func() { near.Close() })
	near.SetDeadline(time.Now().Add(time.Minute)) // or a test that fails would never end
	return near, b.(*net.TCPConn)
}

func TestWhatASocketInALoopSendsAndReceivesIsWhole(t *testing.T) {
	near, far := inLoop(t)
	const size = 32 << 20 // more than there is room for on the way
	received := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, far)
		fmt.Fprint(far, "thanks")
		far.Close()
		received <- n
	}()
	if n, err := near.Write(make([]byte, size)); n != size || err != nil {
		t.Fatalf("wrote %d, %v", n, err)
	}
	near.CloseWrite()
	b := make([]byte, 100)
	n, err := near.Read(b)
	if string(b[:n]) != "thanks" || err != nil {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if _, err := near.Read(b); err != io.EOF {
		t.Errorf("then %v; want its end", err)
	}
	if n := <-received; n != size {
		t.Errorf("%d octets arrived of %d", n, size)
	}
}

// An end that comes with the last octets is not told of a second time.
func TestAnEndThatCameWithOctetsIsFoundBehindThem(t *testing.T) {
	near, far := inLoop(t)
	far.Write([]byte("221 bye\r\n"))
	far.Close()
	poll := []unix.PollFd{{Fd: int32(near.fd), Events: unix.POLLRDHUP}}
	for n, err := unix.Poll(poll, 20_000); n != 1; n, err = unix.Poll(poll, 20_000) {
		if err != unix.EINTR {
			t.Fatal("the end does not come: ", err)
		}
	}
	l := NewLeg(near) // which says when it has read all that there was
	deadline := time.Now().Add(time.Minute)
	if err := l.Fill(deadline); err != nil || string(l.Line()) != "221 bye\r\n" {
		t.Fatalf("%q, %v", l.Buffered(), err)
	}
	l.Consume(len(l.Line()))
	if err := l.Fill(deadline); err != io.EOF {
		t.Errorf("%v; want the end", err)
	}
}

func TestAWaitInALoopKeepsNoLargerBufferThanItNeeds(t *testing.T) {
	keepsNoLargerBuffer(t, func() (net.Conn, net.Conn) { return inLoop(t) })
}

func TestALookInVainIsNotRepeatedUntilThereIsSomething(t *testing.T) {
	near, far := inLoop(t)
	near.mu.Lock()
	near.directions[reading].ready = true // as for octets that somebody has read already
	near.mu.Unlock()
	w := ForTLS(near).(*carrier)
	w.patience = ifTold
	b := make([]byte, 100)
	if n, err := w.Read(b); n != 0 || err != errNothing {
		t.Fatalf("read %q, %v, of nothing", b[:n], err)
	}
	if looked, err := near.look(func(uintptr) bool { return true }); looked || err != nil {
		t.Errorf("looked again: %t, %v", looked, err)
	}
	fmt.Fprint(far, "220 hello\r\n")
	if err := w.await(); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Read(b); string(b[:n]) != "220 hello\r\n" || err != nil {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if n, err := w.Read(b); n != 0 || err != errNothing {
		t.Errorf("then %q, %v", b[:n], err)
	}
}

// A read ends before an urgent octet, and what is behind it is not told of again.
func TestOctetsBehindAnUrgentOneAreRead(t *testing.T) {
	near, far := inLoop(t)
	raw, err := far.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		err = errors.Join(unix.Send(int(fd), []byte("NO"), 0), unix.Send(int(fd), []byte("!"), unix.MSG_OOB), unix.Send(int(fd), []byte("OP\r\n"), 0))
	})
	if err != nil {
		t.Fatal(err)
	}
	l := NewLeg(near)
	for deadline := time.Now().Add(time.Minute); l.Line() == nil; {
		if err := l.Fill(deadline); err != nil {
			t.Fatalf("%v after %q", err, l.Buffered())
		}
	}
	if string(l.Line()) != "NOOP\r\n" {
		t.Errorf("%q", l.Line())
	}
}

func TestAWaitForASocketEndsWithItsDeadlineOrItsClose(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*socket)
		want error
	}{
		"a deadline that comes":     {func(s *socket) { s.SetReadDeadline(time.Now().Add(30 * time.Millisecond)) }, os.ErrDeadlineExceeded},
		"a deadline that was":       {func(s *socket) { s.SetReadDeadline(longAgo) }, os.ErrDeadlineExceeded},
		"a deadline that was later": {func(s *socket) { s.SetDeadline(time.Now().Add(time.Hour)); s.SetDeadline(longAgo) }, os.ErrDeadlineExceeded},
		"a close":                   {func(s *socket) { s.Close() }, net.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			near, _ := inLoop(t)
			near.SetDeadline(time.Time{})
			ended := make(chan error, 1)
			go func() {
				_, err := near.Read(make([]byte, 1))
				ended <- err
			}()
			late := time.Now().Add(time.Minute)
			for waits := false; !waits; runtime.Gosched() {
				near.mu.Lock()
				waits = near.directions[reading].waiter != nil
				near.mu.Unlock()
				if time.Now().After(late) {
					t.Fatal("the read does not wait")
				}
			}
			test.end(near)
			select {
			case err := <-ended:
				if !errors.Is(err, test.want) {
					t.Errorf("%v; want %v", err, test.want)
				}
			case <-time.After(time.Until(late)):
				t.Error("the wait does not end")
			}
		})
	}
}

func TestADeadlineThatIsTakenAwayDoesNotCount(t *testing.T) {
	near, far := inLoop(t)
	near.SetReadDeadline(longAgo)
	near.SetReadDeadline(time.Now().Add(time.Millisecond))
	near.SetReadDeadline(time.Time{})
	go func() {
		<-time.After(20 * time.Millisecond)
		far.Write([]byte("x"))
	}()
	if _, err := near.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

func TestAlarmsComeInTheOrderOfTheirTimes(t *testing.T) {
	ways, r := make([]direction, 200), rand.New(rand.NewPCG(1, 2))
	var a alarms
	for range 5000 {
		w := &ways[r.IntN(len(ways))]
		if r.IntN(4) == 0 {
			a.remove(w)
			continue
		}
		at := time.Duration(1 + r.IntN(1_000_000_000))
		if first := a.set(w, at); first != (a[0] == w) {
			t.Fatal("it is not said right which is the first")
		}
	}
	want := 0
	for i := range ways {
		if ways[i].at > 0 {
			want++
		}
	}
	last, n := time.Duration(0), 0
	for ; len(a) > 0; n++ {
		if wait := a.wait(0); time.Duration(wait)*time.Millisecond < a[0].at {
			t.Fatalf("waits %d ms for what is in %v", wait, a[0].at)
		}
		w := a.pop()
		if w.at < last || w.place != 0 {
			t.Fatalf("%v after %v, at place %d", w.at, last, w.place)
		}
		last = w.at
	}
	if n != want || a.wait(0) != -1 {
		t.Errorf("%d came of %d", n, want)
	}
}

func TestALoopGoesOnWhileARunnerIsOffIt(t *testing.T) {
	l := newTestLoop(t)
	release, steps := make(chan struct{}), make(chan string, 10)
	l.do(func() {
		l.begin(func(c *Runner) {
			steps <- "in the loop"
			c.yield(toLeave)
			<-release // what would keep the loop
			c.yield(toReturn)
			steps <- "back"
		})
	})
	l.do(func() { steps <- "another" })
	for _, want := range []string{"in the loop", "another"} {
		if got := <-steps; got != want {
			t.Fatalf("%s; want %s", got, want)
		}
	}
	close(release)
	if got := <-steps; got != "back" {
		t.Fatal(got)
	}
	rested := make(chan int, 1)
	l.do(func() { rested <- len(l.resting) })
	if n := <-rested; n != 1 {
		t.Errorf("%d Runners are kept; want the one", n)
	}
}

func TestAClientThatSendsWithoutEndDoesNotKeepTheLoop(t *testing.T) {
	near, far := inLoop(t)
	const size = 8 << 20
	go func() {
		far.Write(make([]byte, size))
		far.Close()
	}()
	l, done := near.loop, make(chan [2]int, 1)
	others, ended := 0, false // of the loop's own goroutine
	var other func()
	other = func() {
		others++
		if !ended {
			l.do(other)
		}
	}
	l.do(func() {
		l.begin(func(c *Runner) {
			near.bind(c)
			n, leg := 0, NewLeg(near)
			for err := error(nil); err == nil; {
				n += len(leg.Buffered())
				leg.Consume(len(leg.Buffered()))
				c.BeforeRead()
				err = leg.Fill(time.Now().Add(time.Minute))
			}
			near.bind(nil)
			ended = true
			done <- [2]int{n, others}
		})
	})
	l.do(other)
	result := <-done
	if n := result[0]; n != size {
		t.Errorf("%d octets came of %d", n, size)
	}
	if n, least := result[1], size/SmallBuffer/maxReads/2; n < least {
		t.Errorf("others had their turn %d times; want %d at least", n, least)
	}
}
