package wire

import "syscall"

// readSocket is syscall.Read of a socket that does not block.
func readSocket(fd uintptr, b []byte) (int, error) {
	if len(b) == 0 || len(b) > rawOctets {
		return syscall.Read(int(fd), b)
	}
	return readRaw(fd, b)
}

// writeNow is syscall.Write to one.
func writeNow(fd uintptr, b []byte) (int, error) {
	if len(b) == 0 || len(b) > rawOctets {
		return syscall.Write(int(fd), b)
	}
	return writeRaw(fd, b)
}
