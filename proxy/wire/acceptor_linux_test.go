//go:build !portable

package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whoever handed us a socket has it open still, and the kernel goes on to tell of it.
func TestALoopHearsNothingOfAnAcceptorThatIsClosed(t *testing.T) {
	l := newTestLoop(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second, err := DuplicateSocket(listener)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(second)
	d, err := newAcceptor(listener)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.open(&Listener{loops: l.loops}, []*loop{l}); err != nil {
		t.Fatal(err)
	}
	if !tells(t, l, d.fd) {
		t.Fatal("it does not hear of an open one")
	}
	d.Close()
	if tells(t, l, d.fd) {
		t.Error("it does")
	}
}

// tells says whether the kernel tells the loop of a descriptor (proc_pid_fdinfo(5)).
func tells(t *testing.T, l *loop, fd int) bool {
	t.Helper()
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", l.epoll))
	if err != nil {
		t.Skip("no /proc: ", err)
	}
	for line := range strings.SplitSeq(string(info), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "tfd:" && f[1] == fmt.Sprint(fd) {
			return true
		}
	}
	return false
}

func TestALoopThatHasFarMoreToDoLeavesSessionsToAnother(t *testing.T) {
	a, b := &loop{}, &loop{}
	d := &acceptor{loops: []*loop{a, b}}
	for _, test := range []struct{ a, b int32 }{{0, 0}, {16, 0}, {100, 50}} {
		a.load.Store(test.a)
		b.load.Store(test.b)
		if d.lightest(a) != a {
			t.Errorf("with %d and %d it leaves it", test.a, test.b)
		}
	}
	a.load.Store(18)
	b.load.Store(0)
	if d.lightest(a) != b {
		t.Error("with 18 and none it keeps it")
	}
}

// The kernel tells one loop of a connection, which may be that of a process whose socket
// another one has taken over. If it closes the socket before it accepts, nobody else is
// told.
func TestAConnectionOfWhichAClosedAcceptorWasToldIsTaken(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	second, err := DuplicateSocket(listener)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(second), "listener")
	other, err := net.FileListener(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	greeted := make(chan string, 2)
	serve := func(name string, from net.Listener) *acceptor {
		l := newTestLoop(t)
		a, err := newAcceptor(from)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		at := &Listener{loops: l.loops, open: func(_ *Runner, conn net.Conn) {
			l.loops.config.Arriving.Done()
			greeted <- name
			conn.Close()
		}}
		if err := a.open(at, []*loop{l}); err != nil {
			t.Fatal(err)
		}
		return a
	}
	first := serve("old", listener) // is told first
	serve("new", other)

	first.mu.RLock() // as another loop does that accepts
	closed := make(chan error)
	go func() { closed <- first.Close() }()
	for first.mu.TryRLock() { // until Close waits
		first.mu.RUnlock()
		runtime.Gosched()
	}
	client, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	first.mu.RUnlock()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	client.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("%v; nobody has taken the connection", err)
	}
	t.Log("taken by", <-greeted)
}
