//go:build !386

package wire

import (
	"syscall"
	"unsafe"
)

// readRaw reads from a socket without telling the runtime. The call for sockets is
// cheaper than the one for all files.
func readRaw(fd uintptr, b []byte) (int, error) {
	return callSocket(syscall.SYS_RECVFROM, fd, b, syscall.MSG_DONTWAIT)
}

// writeRaw writes so.
func writeRaw(fd uintptr, b []byte) (int, error) {
	return callSocket(syscall.SYS_SENDTO, fd, b, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
}

// peek looks at what there is to read, without waiting, and leaves it there.
func peek(fd uintptr, b []byte) (int, error) {
	return callSocket(syscall.SYS_RECVFROM, fd, b, syscall.MSG_DONTWAIT|syscall.MSG_PEEK)
}

func callSocket(call, fd uintptr, b []byte, flags uintptr) (int, error) {
	n, _, errno := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), flags, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
