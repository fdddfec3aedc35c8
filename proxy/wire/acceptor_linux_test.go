//go:build !portable

package wire

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

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
