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

// A carrier is a TCP connection below TLS that can be read without waiting. TLS then tells
// whether there is text for us, or only a session ticket, and needs no buffer of ours
// while there is none.
type carrier struct {
	plain
	raw      syscall.RawConn
	patience patience // of Read; set by the only reader

	b       []byte
	n       int
	err     error
	readFD  func(fd uintptr) bool
	lookFD  func(fd uintptr)
	awaitFD func(fd uintptr) bool
	quiet   quiet // plain if it is quiet; else nil
	waited  bool

	out partWritten // tls.Conn does one write at a time
}

// ForTLS returns the connection to pass to crypto/tls in place of conn. If conn is a
// TCP connection or a connection in a loop, the result is a wrapper of conn, with which
// a Leg can read from TLS without waiting. Any other connection is returned unchanged.
func ForTLS(conn net.Conn) net.Conn {
	tcp, ok := conn.(plain)
	if _, unix := conn.(*net.UnixConn); !ok || unix {
		return conn
	}
	raw, err := rawOf(tcp)
	if err != nil {
		return conn
	}
	w := &carrier{plain: tcp, raw: raw}
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
		told := w.waited || w.quiet != nil // being called says so
		w.waited = true
		return told || readable(fd)
	}
	return w
}

func (w *carrier) Read(b []byte) (int, error) {
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

// have returns what a look at the socket has found, unless err says that it failed.
func (w *carrier) have(err error) (int, error) {
	w.b = nil
	if err != nil {
		return 0, err
	}
	return w.n, w.err
}

// patience says what a read does if there is nothing.
type patience uint8

const (
	waits  patience = iota
	looks           // it looks, and returns errNothing
	ifTold          // it returns errNothing, and looks only if the kernel has reported something
)

// await waits, under the read deadline, until there is something to read.
func (w *carrier) await() error {
	w.waited = false
	return w.raw.Read(w.awaitFD)
}

// errNothing tells TLS that there is nothing to read now. It is temporary: TLS keeps the
// connection.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing to read now" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// readable reports whether a read would not wait: there are octets, the end or an error.
func readable(fd uintptr) bool {
	var one [1]byte
	_, err := peek(fd, one[:])
	return err != syscall.EAGAIN && err != syscall.EINTR
}
