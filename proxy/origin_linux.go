package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// errUntracked is the error of tracked for a connection that was not redirected.
const errUntracked = unix.ENOENT

// tracked returns the original destination of a connection as connection tracking knows it.
func tracked(conn net.Conn, ipv4 bool) (to netip.AddrPort, err error) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return to, fmt.Errorf("%T has no socket", conn)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return to, err
	}
	asked := raw.Control(func(fd uintptr) { to, err = destinationOf(int(fd), ipv4) })
	return to, errors.Join(asked, err)
}

// destinationOf returns the original destination of the socket fd. It uses netfilter's options
// SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST, which have the same number. Package x/sys/unix has
// no call for a bare sockaddr, so destinationOf uses structures that begin with a sockaddr or
// are as long.
func destinationOf(fd int, ipv4 bool) (netip.AddrPort, error) {
	if ipv4 { // struct sockaddr_in: family, port, address
		raw, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, unix.SO_ORIGINAL_DST)
		if err != nil {
			return netip.AddrPort{}, err
		}
		b := raw.Multiaddr[:]
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4])), nil
	}
	raw, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, unix.SO_ORIGINAL_DST)
	if err != nil {
		return netip.AddrPort{}, err
	}
	var port [2]byte // in network byte order
	binary.NativeEndian.PutUint16(port[:], raw.Addr.Port)
	return netip.AddrPortFrom(netip.AddrFrom16(raw.Addr.Addr), binary.BigEndian.Uint16(port[:])), nil
}

// checkOrigin returns an error if this system does not know original destinations, because it
// has no connection tracking.
func checkOrigin() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("checking whether original destinations are known: %w", err)
	}
	defer unix.Close(fd)
	if _, err := destinationOf(fd, true); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTCONN) {
		return fmt.Errorf("original destinations are not known to this system (%w): load the firewall's rules, and with "+
			"them nf_conntrack, before smtpshim is started, or use TPROXY and transparent = true", err)
	}
	return nil
}
