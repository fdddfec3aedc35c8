//go:build unix

package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// acceptsConnections reports whether a socket is a listening socket.
func acceptsConnections(fd int) (bool, error) {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return n != 0, err
}

// shortages are the errors of a dial for which a shortage on this machine is the cause, and
// not the server.
var shortages = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL}
