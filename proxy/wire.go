package proxy

import (
	"io"
	"net"
	"os"
	"syscall"
)

// A wire is a TCP connection below TLS that can be read without waiting: TLS
// then says whether there is text for us, or no more than a session ticket, and
// needs no buffer of ours while there is none.
type wire struct {
	*net.TCPConn
	raw    syscall.RawConn
	noWait bool // Read gives errNothing instead of waiting; set by the only reader

	b       []byte
	n       int
	err     error
	readFD  func(fd uintptr)
	awaitFD func(fd uintptr) bool
	waited  bool
}

// wired makes a wire of a TCP connection; any other comes back as it is.
func wired(conn net.Conn) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn
	}
	w := &wire{TCPConn: tcp, raw: raw}
	w.readFD = func(fd uintptr) { w.n, w.err = readNow(fd, w.b) }
	w.awaitFD = func(fd uintptr) bool {
		again := w.waited
		w.waited = true
		return again || readable(fd)
	}
	return w
}

func (w *wire) Read(b []byte) (int, error) {
	if !w.noWait {
		return w.TCPConn.Read(b)
	}
	w.b = b
	err := w.raw.Control(w.readFD) // whatever the read deadline
	w.b = nil
	if err == nil {
		err = w.err
	}
	return w.n, err
}

// await waits, under the read deadline, until there is something to read.
func (w *wire) await() error {
	w.waited = false
	return w.raw.Read(w.awaitFD)
}

// errNothing is what TLS hears when there is nothing to read now. It is
// temporary: the connection goes on.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing to read now" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// readNow reads without waiting.
func readNow(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), b)
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

// readable says whether a read would not wait: for octets, the end or an error.
func readable(fd uintptr) bool {
	_, err := peek(fd)
	return err != syscall.EAGAIN && err != syscall.EINTR
}

// peek looks at what there is to read, if there is, and leaves it there.
func peek(fd uintptr) (int, error) {
	var one [1]byte
	n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n, err
}
