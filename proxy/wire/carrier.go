package wire

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
	raw      syscall.RawConn
	patience patience // of Read; set by the only reader

	b       []byte
	n       int
	err     error
	readFD  func(fd uintptr) bool
	lookFD  func(fd uintptr)
	awaitFD func(fd uintptr) bool
	quiet   quiet // nil: nobody wants to know
	waited  bool

	out partWritten // tls.Conn does one write at a time
}

// wired makes a wire of a TCP connection; any other comes back as it is.
func ForTLS(conn net.Conn) net.Conn {
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
			w.quiet.quiet()
		}
		return w.err != errNothing
	}
	w.quiet, _ = conn.(quiet)
	w.lookFD = func(fd uintptr) { w.readFD(fd) }
	w.awaitFD = func(fd uintptr) bool {
		told := w.waited || w.quiet != nil // that it is called says so
		w.waited = true
		return told || readable(fd)
	}
	return w
}

func (w *wire) Read(b []byte) (int, error) {
	if w.patience == waits {
		return w.readWaiting(b)
	}
	w.b = b
	if w.patience == ifTold && w.quiet != nil {
		looked, err := w.quiet.look(w.readFD)
		if err == nil && !looked {
			w.n, w.err = 0, errNothing
		}
		return w.have(err)
	}
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

// patience is what a read does while there is nothing.
type patience uint8

const (
	waits  patience = iota
	looks           // it gives errNothing, once it has looked
	ifTold          // it gives errNothing, and looks only if the connection has been told of something
)

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
