//go:build !portable

package proxy

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtpshim/proxy/wire"
)

// looped is a proxy that has loops.
func looped(t *testing.T) *Proxy {
	t.Helper()
	p := &Proxy{Logger: slog.New(slog.DiscardHandler)}
	p.prepare()
	t.Cleanup(func() { p.Close() })
	if _, err := p.loops.Listen(); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestADialInALoopSaysWhyItFails(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := netip.MustParseAddrPort(free.Addr().String())
	free.Close()
	p, failed := looped(t), make(chan error, 1)
	p.loops.Go(func(c *wire.Runner) {
		s := &session{proxy: p, runner: c}
		_, err := s.connectTo(nobody, time.Now().Add(time.Minute))
		failed <- err
	})
	if err := <-failed; !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
}

// TestADialThatFailsLeavesNoHop: its port is the next one's to have, to the same place.
func TestADialThatFailsLeavesNoHop(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := netip.MustParseAddrPort(free.Addr().String())
	free.Close()
	p, left := looped(t), make(chan int, 1)
	p.loops.Go(func(c *wire.Runner) {
		s := &session{proxy: p, runner: c, destination: nobody.String()}
		s.addHop(hop{nobody, nobody}) // the client's own, which stays
		if _, err := s.connectTo(nobody, time.Now().Add(time.Minute)); err == nil {
			t.Error("nobody listens, and it is connected")
		}
		left <- len(s.hops)
	})
	if n := <-left; n != 1 {
		t.Errorf("%d hops are recorded, want the client's alone", n)
	}
}

// deaf is a server that takes no connection and refuses none: its queue is full.
func deaf(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*syscall.SockaddrInet4).Port))
	for range 16 {
		conn, err := net.DialTimeout("tcp", at.String(), 200*time.Millisecond)
		if err != nil {
			return at
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("a queue of no length takes any number of connections")
	return at
}

// waitUntil waits until something is so.
func waitUntil(t *testing.T, so func() bool) {
	t.Helper()
	for late := time.Now().Add(testPatience); !so(); runtime.Gosched() {
		if time.Now().After(late) {
			t.Fatal("it does not come about")
		}
	}
}

func TestAServerThatDoesNotConnectIsLeftAtItsTimeAndWhenAllEnds(t *testing.T) {
	server := deaf(t)
	for name, timeout := range map[string]time.Duration{"time": 100 * time.Millisecond, "the end": time.Hour} {
		t.Run(name, func(t *testing.T) {
			p := apply(t, &Route{Listen: []string{"127.0.0.1:0"}, Servers: []string{server.String()}, Timeouts: Timeouts{Connect: timeout}})
			conn, err := net.Dial("tcp", p.Addr("127.0.0.1:0").String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if name == "the end" {
				waitUntil(t, func() (dialling bool) {
					p.mu.Lock()
					defer p.mu.Unlock()
					for s := range p.sessions {
						s.mu.Lock()
						dialling = s.dialling != nil
						s.mu.Unlock()
					}
					return dialling
				})
				p.Close()
			}
			conn.SetDeadline(time.Now().Add(time.Minute))
			if answer, err := io.ReadAll(conn); err != nil && !errors.Is(err, syscall.ECONNRESET) || name == "time" && !strings.HasPrefix(string(answer), "421 4.3.2 ") {
				t.Errorf("the client hears %q, %v", answer, err)
			}
		})
	}
}
