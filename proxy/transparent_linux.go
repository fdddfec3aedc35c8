package proxy

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// choosePortLate makes the kernel choose the port of a socket when it connects, and not when
// it is bound to an address. Otherwise each address could have only as many sessions as
// there are ports (IP_BIND_ADDRESS_NO_PORT, ip(7)).
func choosePortLate(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
}

// setTransparent lets a socket have an address that is not of this machine, or a listener
// accept connections to such addresses (IP_TRANSPARENT, ip(7)). That needs a right, unless the
// socket is transparent already.
func setTransparent(fd int, ipv6 bool) error {
	level, option := unix.SOL_IP, unix.IP_TRANSPARENT
	if ipv6 {
		level, option = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
	}
	if now, err := unix.GetsockoptInt(fd, level, option); err == nil && now == 1 {
		return nil
	}
	err := unix.SetsockoptInt(fd, level, option, 1)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("IP_TRANSPARENT: %w: the right CAP_NET_ADMIN is needed; give it with "+
			"AmbientCapabilities=CAP_NET_ADMIN in the systemd unit or with setcap cap_net_admin=+ep", err)
	}
	if err != nil {
		return fmt.Errorf("IP_TRANSPARENT: %w", err)
	}
	return nil
}

// acceptTransparently makes a listening socket of either family transparent.
func acceptTransparently(fd int) error {
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return err
	}
	return setTransparent(fd, family == unix.AF_INET6)
}

// checkTransparent returns an error if we may not have transparent sockets.
func checkTransparent() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return setTransparent(fd, false)
}
