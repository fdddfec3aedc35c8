package proxy

import (
	"syscall"
	"unsafe"
)

// readSocket is syscall.Read of a socket that does not block.
func readSocket(fd uintptr, b []byte) (int, error) {
	if len(b) == 0 || len(b) > rawOctets {
		return syscall.Read(int(fd), b)
	}
	return raw(syscall.SYS_READ, fd, b)
}

// writeNow is syscall.Write to one.
func writeNow(fd uintptr, b []byte) (int, error) {
	if len(b) == 0 || len(b) > rawOctets {
		return syscall.Write(int(fd), b)
	}
	return raw(syscall.SYS_WRITE, fd, b)
}

func raw(trap, fd uintptr, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
