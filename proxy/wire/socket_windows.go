package wire

import (
	"errors"
	"io"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// rawOf is the socket of a connection, for what follows: calls without an
// OVERLAPPED do not wait then. Those of package net, which have one, are not
// concerned.
func rawOf(conn syscall.Conn) (syscall.RawConn, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	done := raw.Control(func(fd uintptr) {
		const fionbio = 0x8004667e
		on, returned := uint32(1), uint32(0)
		err = windows.WSAIoctl(windows.Handle(fd), fionbio, (*byte)(unsafe.Pointer(&on)), uint32(unsafe.Sizeof(on)), nil, 0, &returned, nil, 0)
	})
	if done != nil {
		return nil, done
	}
	return raw, os.NewSyscallError("wsaioctl", err)
}

// readNow reads without waiting.
func readNow(fd uintptr, b []byte) (int, error) {
	n, err := receive(fd, b, 0)
	switch {
	case err == syscall.EAGAIN:
		return 0, errNothing
	case err != nil:
		return 0, os.NewSyscallError("wsarecv", err)
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// peek looks at what there is to read, if there is, and leaves it there.
func peek(fd uintptr, b []byte) (int, error) { return receive(fd, b, windows.MSG_PEEK) }

func receive(fd uintptr, b []byte, flags uint32) (int, error) {
	var n uint32
	err := windows.WSARecv(windows.Handle(fd), buffer(b), 1, &n, &flags, nil, nil)
	return int(n), posix(err)
}

// writeNow writes without waiting.
func writeNow(fd uintptr, b []byte) (int, error) {
	var n uint32
	err := windows.WSASend(windows.Handle(fd), buffer(b), 1, &n, 0, nil, nil)
	return int(n), posix(err)
}

func buffer(b []byte) *windows.WSABuf {
	return &windows.WSABuf{Len: uint32(len(b)), Buf: unsafe.SliceData(b)}
}

// posix gives what would have to wait the name that it has elsewhere.
func posix(err error) error {
	if err == windows.WSAEWOULDBLOCK {
		return syscall.EAGAIN
	}
	return err
}

// rawWrite writes what there is room for, and leaves the rest to package net:
// RawConn cannot wait for room here.
func (l *Leg) rawWrite() error {
	err := l.raw.Write(l.writeFunc)
	if !errors.Is(err, syscall.EWINDOWS) {
		return err
	}
	n, err := l.Conn.Write(l.rest)
	l.rest = l.rest[n:]
	return err
}
