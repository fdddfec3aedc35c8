package proxy

import "syscall"

// peek looks at what there is to read, without waiting, and leaves it there. The
// call of its own for that came to this architecture with Linux 4.3.
func peek(fd uintptr, b []byte) (int, error) {
	n, _, err := syscall.Recvfrom(int(fd), b, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n, err
}
