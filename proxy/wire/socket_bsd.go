//go:build unix && !linux

package wire

import "syscall"

// readSocket reads from a socket that does not block.
func readSocket(fd uintptr, b []byte) (int, error) { return syscall.Read(int(fd), b) }

// writeNow writes without waiting.
func writeNow(fd uintptr, b []byte) (int, error) { return syscall.Write(int(fd), b) }

// peek looks at what there is to read, without waiting, and leaves it there.
func peek(fd uintptr, b []byte) (int, error) {
	n, _, err := syscall.Recvfrom(int(fd), b, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n, err
}
