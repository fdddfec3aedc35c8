//go:build !portable

package wire

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Adopt moves conn, a connection of package net, into the loop of c. It returns a
// connection in that loop with the same socket; c is the Runner that waits for it.
// remote is the address of the peer; zero if conn is a Unix domain socket. If conn is
// no socket, Adopt returns it unchanged. Otherwise Adopt closes conn, even if it fails.
func (c *Runner) Adopt(conn net.Conn, remote netip.AddrPort) (net.Conn, error) {
	if _, ok := conn.(plain); !ok {
		return conn, nil
	}
	defer conn.Close()
	s, err := c.loop.adopt(conn, remote)
	if err != nil {
		return nil, err // s is no nil net.Conn
	}
	s.bind(c)
	return s, nil
}

func (l *loop) adopt(conn net.Conn, remote netip.AddrPort) (*socket, error) {
	fd, err := DuplicateSocket(conn)
	if err != nil {
		return nil, err
	}
	return l.newSocket(fd, remote, received)
}

// Connect starts to connect to the address to, in the loop, and does not wait. The
// returned connection must not be used before AwaitConnected has returned nil for it.
func (c *Runner) Connect(to netip.AddrPort) (net.Conn, error) {
	fd, err := startConnecting(to)
	if err != nil {
		return nil, err
	}
	conn, err := c.connecting(fd, to)
	if err != nil {
		return nil, err // conn is no nil net.Conn
	}
	return conn, nil
}

// connecting makes a socket of a descriptor that has started to connect.
func (c *Runner) connecting(fd int, to netip.AddrPort) (*socket, error) {
	conn, err := c.loop.newSocket(fd, to, received|unix.EPOLLOUT)
	if err != nil {
		return nil, err
	}
	conn.bind(c)
	return conn, nil
}

// AwaitConnected waits until conn, which Connect has returned, is connected. It returns
// an error if that fails or the deadline passes. The caller then closes conn.
func (c *Runner) AwaitConnected(conn net.Conn, deadline time.Time) error {
	s := conn.(*socket)
	err := s.connected(deadline)
	if err == nil && c.loop.ephemeral.has(s.remote.Port()) && s.isItsOwnPeer() {
		err = os.NewSyscallError("connect", syscall.ECONNREFUSED) // nobody listens there, and the kernel chose that very port for us
	}
	return err
}

// isItsOwnPeer reports whether a connection leads to itself. The kernel is asked for the
// peer, which is not the address that was dialled if that was 0.0.0.0.
func (s *socket) isItsOwnPeer() bool {
	local := s.LocalAddrPort()
	if local.Port() != s.remote.Port() {
		return false
	}
	var peer netip.AddrPort
	(*rawSocket)(s).Control(func(fd uintptr) {
		if name, err := syscall.Getpeername(int(fd)); err == nil {
			peer = addrPortOf(int(fd), name)
		}
	})
	return local == peer
}

func startConnecting(to netip.AddrPort) (fd int, err error) {
	domain := unix.AF_INET6
	if to.Addr().Is4() {
		domain = unix.AF_INET
	}
	if fd, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if err = noDelay(fd); err == nil {
		err = unix.Connect(fd, sockaddrOf(fd, to))
		if err == unix.EINPROGRESS || err == unix.EINTR {
			return fd, nil
		}
		err = os.NewSyscallError("connect", err)
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

// connected waits until a socket is connected.
func (s *socket) connected(deadline time.Time) error {
	if err := s.SetWriteDeadline(deadline); err != nil {
		return err
	}
	var failed error
	err := s.do(writing, func(fd uintptr) bool {
		if !s.isUnclear() || isConnected(int(fd)) { // it is writable, and no error or end was reported: it is connected
			return true
		}
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			failed = os.NewSyscallError("getsockopt", err)
		case code != 0:
			failed = os.NewSyscallError("connect", syscall.Errno(code))
		}
		return failed != nil
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	return s.SetWriteDeadline(time.Time{})
}

func (s *socket) isUnclear() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unclear
}

// isConnected reports whether a socket is connected by now.
func isConnected(fd int) bool {
	_, err := syscall.Getpeername(fd)
	return err == nil
}

// ports is a range of ports, both ends included.
type ports struct{ first, last uint16 }

func (p ports) has(port uint16) bool { return p.first <= port && port <= p.last }

// ephemeralPorts returns the ports from which the kernel chooses that of an outgoing
// connection (ip(7), ip_local_port_range). If it does not say, these are all that need no
// privilege.
func ephemeralPorts() ports {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	var p ports
	if n, _ := fmt.Sscan(string(text), &p.first, &p.last); err != nil || n != 2 {
		return ports{1024, math.MaxUint16}
	}
	return p
}

// noDelay has the kernel send at once what is written.
func noDelay(fd int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
}

// sockaddrOf converts an address for the kernel. fd may be any socket.
func sockaddrOf(fd int, a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	six := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	if zone := a.Addr().Zone(); zone != "" {
		six.ZoneId = zoneID(fd, zone)
	}
	return six
}

// addrPortOf converts an address of the kernel; zero if it is not one of TCP. It takes
// package syscall's, since x/sys/unix also asks for the protocol. fd may be any socket.
func addrPortOf(fd int, name syscall.Sockaddr) netip.AddrPort {
	switch name := name.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port))
	case *syscall.SockaddrInet6:
		a := netip.AddrFrom16(name.Addr).Unmap()
		if name.ZoneId != 0 && a.Is6() {
			a = a.WithZone(zoneOf(fd, name.ZoneId))
		}
		return netip.AddrPortFrom(a, uint16(name.Port))
	}
	return netip.AddrPort{}
}

// zoneOf returns the name of a zone, which is an interface, as package net does. Package
// net asks for all interfaces by netlink, and may wait for whoever changes one; these calls
// do not wait (netdevice(7)). fd may be any socket.
func zoneOf(fd int, id uint32) string {
	if request, err := unix.NewIfreq(""); err == nil {
		request.SetUint32(id)
		if unix.IoctlIfreq(fd, unix.SIOCGIFNAME, request) == nil {
			return request.Name()
		}
	}
	return strconv.FormatUint(uint64(id), 10)
}

// zoneID returns the number of a zone by its name, or by its number in digits; 0 if there
// is none. fd may be any socket.
func zoneID(fd int, zone string) uint32 {
	if request, err := unix.NewIfreq(zone); err == nil && unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request) == nil {
		return request.Uint32()
	}
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
}
