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
	readFD  func(fd uintptr) bool
	lookFD  func(fd uintptr)
	awaitFD func(fd uintptr) bool
	waited  bool

	rest     []byte // of the write that is under way; tls.Conn does one at a time
	writeErr error
	writeFD  func(fd uintptr) bool
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
	w.readFD = func(fd uintptr) bool {
		w.n, w.err = readNow(fd, w.b)
		return w.err != errNothing
	}
	w.lookFD = func(fd uintptr) { w.readFD(fd) }
	w.writeFD = w.writeSome
	w.awaitFD = func(fd uintptr) bool {
		again := w.waited
		w.waited = true
		return again || readable(fd)
	}
	return w
}

func (w *wire) Read(b []byte) (int, error) {
	w.b = b
	var err error
	if w.noWait {
		err = w.raw.Control(w.lookFD) // whatever the read deadline
	} else {
		err = w.raw.Read(w.readFD)
	}
	w.b = nil
	if err == nil {
		err = w.err
	} else {
		w.n = 0
	}
	return w.n, err
}

func (w *wire) Write(b []byte) (int, error) {
	w.rest, w.writeErr = b, nil
	err := w.raw.Write(w.writeFD)
	n := len(b) - len(w.rest)
	w.rest = nil
	if err == nil {
		err = w.writeErr
	}
	return n, err
}

// writeSome writes what there is room for. It says whether it is done, rather
// than to be called again.
func (w *wire) writeSome(fd uintptr) bool {
	for len(w.rest) > 0 {
		n, err := writeSocket(fd, w.rest)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return false
		case err != nil:
			w.writeErr = os.NewSyscallError("write", err)
			return true
		default:
			w.rest = w.rest[n:]
		}
	}
	return true
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
		n, err := readSocket(fd, b)
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
	return peekSocket(fd, one[:])
}
