//go:build !portable

package proxy

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtpshim/proxy/smtptest"
)

func TestConnectionsInALoopSendAtOnce(t *testing.T) {
	near := make(chan net.Conn, 1)
	p := apply(t, &Route{Listen: []string{"127.0.0.1:0"}, Servers: []string{deaf(t).String()}})
	conn, err := net.Dial("tcp", p.Addr("127.0.0.1:0").String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	waitUntil(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for s := range p.sessions {
			near <- s.client.Conn
		}
		return len(near) > 0
	})
	raw, err := (<-near).(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if on, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY); on == 0 || err != nil {
			t.Errorf("TCP_NODELAY is %d, %v", on, err)
		}
	})
}

func TestAnIdleSessionHasNothingToRunOn(t *testing.T) {
	dir := t.TempDir()
	greeter(t, "unix", filepath.Join(dir, "out.sock"), "a")
	p := apply(t, &Route{Listen: []string{"unix:" + filepath.Join(dir, "in.sock")}, Servers: []string{"unix:" + filepath.Join(dir, "out.sock")}})
	conn, err := net.Dial("unix", filepath.Join(dir, "in.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	idle := smtptest.Pause(func() { awaitIdle(t, p) })
	if err := smtptest.Play(conn, time.Minute, smtptest.Expect("220 a"), idle,
		smtptest.Say("NOOP"), smtptest.Expect("250 ok"), idle, smtptest.Say("QUIT"), smtptest.Expect("221 bye"), smtptest.ExpectEnd()); err != nil {
		t.Error(err)
	}
}

// isIdle says whether a session has nothing to run on, and nothing to read and write
// with.
func isIdle(p *Proxy) bool { return p.loops.Idle() == 1 }
