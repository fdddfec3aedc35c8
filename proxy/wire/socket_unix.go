//go:build unix

package wire

import (
	"io"
	"os"
	"syscall"
)

// rawOf is the socket of a connection, for what follows.
func rawOf(conn syscall.Conn) (syscall.RawConn, error) { return conn.SyscallConn() }

// readNow reads without waiting.
func readNow(fd uintptr, b []byte) (int, error) {
	for {
		n, err := readSocket(fd, b)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return 0, errNothing
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// rawWrite has writeFunc called until it is done.
func (l *Leg) rawWrite() error { return l.raw.Write(l.writeFunc) }
