package proxy

import (
	"net"
	"syscall"
)

// A plain connection is a stream socket.
type plain interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// A wire is a TCP connection below TLS that can be read without waiting: TLS
// then says whether there is text for us, or no more than a session ticket, and
// needs no buffer of ours while there is none.
type wire struct {
	plain
	raw    syscall.RawConn
	noWait bool // Read gives errNothing instead of waiting; set by the only reader

	b       []byte
	n       int
	err     error
	readFD  func(fd uintptr) bool
	lookFD  func(fd uintptr)
	awaitFD func(fd uintptr) bool
	quiet   func() // nil: nobody wants to know
	waited  bool

	out partWritten // tls.Conn does one write at a time
}

// wired makes a wire of a TCP connection; any other comes back as it is.
func wired(conn net.Conn) net.Conn {
	tcp, ok := conn.(plain)
	if _, unix := conn.(*net.UnixConn); !ok || unix {
		return conn
	}
	raw, err := rawOf(tcp)
	if err != nil {
		return conn
	}
	w := &wire{plain: tcp, raw: raw}
	w.readFD = func(fd uintptr) bool {
		w.n, w.err = readNow(fd, w.b)
		if w.err == nil && w.n < len(w.b) && w.quiet != nil {
			w.quiet()
		}
		return w.err != errNothing
	}
	if q, ok := conn.(quiet); ok {
		w.quiet = q.quiet
	}
	w.lookFD = func(fd uintptr) { w.readFD(fd) }
	w.awaitFD = func(fd uintptr) bool {
		again := w.waited
		w.waited = true
		return again || readable(fd)
	}
	return w
}

func (w *wire) Read(b []byte) (int, error) {
	if !w.noWait {
		return w.readWaiting(b)
	}
	w.b = b
	err := w.raw.Control(w.lookFD) // whatever the read deadline
	return w.have(err)
}

// have is what a look at the socket has given, unless that could not be.
func (w *wire) have(err error) (int, error) {
	w.b = nil
	if err != nil {
		return 0, err
	}
	return w.n, w.err
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

// readable says whether a read would not wait: for octets, the end or an error.
func readable(fd uintptr) bool {
	var one [1]byte
	_, err := peek(fd, one[:])
	return err != syscall.EAGAIN && err != syscall.EINTR
}
