package wire

import (
	"syscall"
	"unsafe"
)

// The calls for sockets came to this architecture with Linux 4.3.

// readRaw reads from a socket without telling the runtime.
func readRaw(fd uintptr, b []byte) (int, error) { return callFile(syscall.SYS_READ, fd, b) }

// writeRaw writes so.
func writeRaw(fd uintptr, b []byte) (int, error) { return callFile(syscall.SYS_WRITE, fd, b) }

func callFile(call, fd uintptr, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// peek looks at what there is to read, without waiting, and leaves it there.
func peek(fd uintptr, b []byte) (int, error) {
	n, _, err := syscall.Recvfrom(int(fd), b, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n, err
}
