package wire

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// DuplicateSocket returns a second descriptor of socket. socket must be a syscall.Conn,
// such as a connection or a listener of package net, or an *os.File. The caller closes
// the descriptor.
func DuplicateSocket(socket any) (second int, err error) {
	s, ok := socket.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("%T has no descriptor", socket)
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0, err
	}
	closed := raw.Control(func(fd uintptr) { second, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if closed != nil {
		return 0, closed
	}
	return second, os.NewSyscallError("fcntl", err)
}
