package proxy

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawOctets is up to how many octets a socket is read and written without telling
// the runtime, which else gives the processor to another thread if the call takes
// the 20 microseconds that the kernel's TCP often does, and has one thread more
// to look out for that: a tenth of a short session. The sockets do not block, so no
// call takes longer than it takes to move as much; what is more is worth telling.
const rawOctets = 64 << 10

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

// peek looks at what there is to read, without waiting, and leaves it there.
func peek(fd uintptr, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

func raw(trap, fd uintptr, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
