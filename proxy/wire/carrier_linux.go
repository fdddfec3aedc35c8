package wire

import (
	"os"
	"syscall"
)

// A partWritten is a write that is under way.
type partWritten struct {
	rest []byte
	err  error
	some func(fd uintptr) bool // write; made once
}

// readWaiting reads as TCPConn does, without telling the runtime: see rawOctets.
func (w *carrier) readWaiting(b []byte) (int, error) {
	w.b = b
	return w.have(w.raw.Read(w.readFD))
}

// Write writes b as a net.TCPConn does, but the runtime is not told of a system call
// that writes at most rawOctets octets, because telling it costs time.
func (w *carrier) Write(b []byte) (int, error) {
	if w.out.some == nil {
		w.out.some = w.out.write
	}
	w.out.rest, w.out.err = b, nil
	err := w.raw.Write(w.out.some)
	n := len(b) - len(w.out.rest)
	w.out.rest = nil
	if err == nil {
		err = w.out.err
	}
	return n, err
}

// write writes what there is room for. It reports whether it is done; else it is called
// again.
func (w *partWritten) write(fd uintptr) bool {
	for len(w.rest) > 0 {
		n, err := writeNow(fd, w.rest)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return false
		case err != nil:
			w.err = os.NewSyscallError("write", err)
			return true
		default:
			w.rest = w.rest[n:]
		}
	}
	return true
}
