//go:build !portable

package wire

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel may choose the very port that is dialled where nobody listens there. The test
// binds the socket to it, so that it does so each time.
func TestAConnectionToItselfIsRefused(t *testing.T) {
	for _, dialled := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv4Unspecified()} {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		name, err := syscall.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		to := netip.AddrPortFrom(dialled, addrPortOf(fd, name).Port())
		if err := unix.Connect(fd, sockaddrOf(fd, to)); err != nil && err != unix.EINPROGRESS {
			t.Fatal(err)
		}
		l, failed := newTestLoop(t), make(chan error, 1)
		l.do(func() {
			l.begin(func(c *Runner) {
				conn, err := c.connecting(fd, to)
				if err == nil {
					err = c.AwaitConnected(conn, time.Now().Add(time.Minute))
					conn.Close()
				}
				failed <- err
			})
		})
		if err := <-failed; !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%v from its own port: %v", to, err)
		}
	}
}

func TestPortsThatTheKernelChoosesAreEphemeral(t *testing.T) {
	p := ephemeralPorts()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 20 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if port := netip.MustParseAddrPort(conn.LocalAddr().String()).Port(); !p.has(port) {
			t.Errorf("the kernel chose %d, which is not in %+v", port, p)
		}
	}
	if p.has(25) || p.has(587) {
		t.Errorf("%+v has ports that servers listen on", p)
	}
}

func TestZonesHaveTheNamesThatPackageNetGivesThem(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skip(os.NewSyscallError("socket", err))
	}
	defer unix.Close(fd)
	all, err := net.Interfaces()
	if err != nil || len(all) == 0 {
		t.Skip("no interfaces: ", err)
	}
	for _, i := range all {
		if got := zoneOf(fd, uint32(i.Index)); got != i.Name {
			t.Errorf("interface %d is named %q; want %q", i.Index, got, i.Name)
		}
		if got := zoneID(fd, i.Name); got != uint32(i.Index) {
			t.Errorf("interface %s is number %d; want %d", i.Name, got, i.Index)
		}
	}
	if got := zoneOf(fd, 1<<30); got != "1073741824" {
		t.Errorf("an interface that is not there is named %q", got)
	}
	if got := zoneID(fd, "1073741824"); got != 1<<30 {
		t.Errorf("number %d", got)
	}
	if got := zoneID(fd, "nowhere"); got != 0 {
		t.Errorf("an interface that is not there has number %d", got)
	}
}
