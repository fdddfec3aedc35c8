//go:build unix

package main

import (
	"errors"
	"net/netip"
	"os"
	"syscall"
)

// bindOnly binds an address and releases it. Nobody can connect in between. It does not
// disturb a program that listens there or begins to: a socket that is only bound does not
// conflict with sockets that have SO_REUSEADDR, as all listeners of Go do.
func bindOnly(to netip.AddrPort) error {
	ip := to.Addr()
	if ip.Zone() != "" {
		return nil // the zone has no number here
	}
	if ip.Is4() {
		return bindAs(syscall.AF_INET, &syscall.SockaddrInet4{Port: int(to.Port()), Addr: ip.As4()})
	}
	err := bindAs(syscall.AF_INET6, &syscall.SockaddrInet6{Port: int(to.Port()), Addr: ip.As16()})
	if ip.IsUnspecified() && (errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)) {
		return bindAs(syscall.AF_INET, &syscall.SockaddrInet4{Port: int(to.Port())}) // this machine has no IPv6
	}
	return err
}

func bindAs(family int, to syscall.Sockaddr) error {
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer syscall.Close(fd)
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if six, ok := to.(*syscall.SockaddrInet6); ok {
		only := 1
		if netip.AddrFrom16(six.Addr).IsUnspecified() {
			only = 0
		}
		if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, only); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return os.NewSyscallError("bind", syscall.Bind(fd, to))
}

// isRoot reports whether the present user may bind ports below firstFreePort.
func isRoot() bool { return os.Geteuid() == 0 }
