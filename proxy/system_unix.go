//go:build unix

package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// acceptsConnections says whether a socket listens.
func acceptsConnections(fd int) (bool, error) {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return n != 0, err
}

// shortages are the errors of a dial that say what this machine has run out of.
var shortages = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL}
