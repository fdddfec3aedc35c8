package listen

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"time"
)

const (
	maxLine  = 64 << 10 // octets of a line, with its line end, that are kept
	maxTotal = 64 << 20 // octets that are read in a session
)

var errTooMuch = errors.New("it sent more than 64 MiB")

// A wire is the connection of a session, with limits of time and octets.
type wire struct {
	conn    net.Conn
	r       *bufio.Reader
	timeout time.Duration // of each read and write
	over    time.Time     // the end of the session
	left    int           // octets that may still be read
}

func newWire(conn net.Conn, timeout time.Duration) *wire {
	return &wire{conn: conn, r: bufio.NewReader(conn), timeout: timeout, over: time.Now().Add(5 * timeout), left: maxTotal}
}

// change replaces the connection by another one, such as TLS over it.
func (w *wire) change(conn net.Conn) {
	w.conn = conn
	w.r = bufio.NewReader(conn)
}

// within sets a deadline for the next read or write, at the latest the end of the
// session.
func (w *wire) within(d time.Duration) time.Time {
	at := time.Now().Add(d)
	if at.After(w.over) {
		at = w.over
	}
	return at
}

// speaks reports whether the client sends something within a time.
func (w *wire) speaks(within time.Duration) bool {
	if w.r.Buffered() > 0 {
		return true
	}
	w.conn.SetReadDeadline(w.within(within))
	octets, _ := w.r.Peek(1)
	return len(octets) > 0
}

// peek waits for octets of the client and does not consume them.
func (w *wire) peek() ([]byte, error) {
	w.conn.SetReadDeadline(w.within(w.timeout))
	if _, err := w.r.Peek(1); err != nil {
		return nil, err
	}
	return w.r.Peek(w.r.Buffered())
}

// part reads up to the next LF, or as much as fits the buffer.
func (w *wire) part() ([]byte, error) {
	w.conn.SetReadDeadline(w.within(w.timeout))
	part, err := w.r.ReadSlice('\n')
	if w.left -= len(part); w.left < 0 {
		return nil, errTooMuch
	}
	if errors.Is(err, bufio.ErrBufferFull) {
		err = nil
	}
	return part, err
}

// A line is what a client sent up to an LF.
type line struct {
	text []byte // without its line end; at most maxLine octets
	end  string // CRLF, or what the client sent instead
	long bool   // the line was longer
}

func (w *wire) line() (l line, err error) {
	for before := byte(0); ; { // the octet before a part
		part, err := w.part()
		if room := maxLine - len(l.text); room < len(part) {
			l.long = true
			l.text = append(l.text, part[:max(0, room)]...)
		} else {
			l.text = append(l.text, part...)
		}
		if err != nil {
			return l, err
		}
		if bytes.HasSuffix(part, []byte("\n")) {
			if len(part) > 1 {
				before = part[len(part)-2]
			}
			if l.end = "\n"; before == '\r' {
				l.end = "\r\n"
			}
			break
		}
		before = part[len(part)-1]
	}
	if l.long { // text does not include the line end
		return l, nil
	}
	bare := bytes.TrimRight(bytes.TrimSuffix(l.text, []byte("\n")), "\r")
	l.text, l.end = bare, string(l.text[len(bare):])
	return l, nil
}

// octets reads n octets and passes them to look.
func (w *wire) octets(n int, look func([]byte)) error {
	buffer := make([]byte, 4096)
	for n > 0 {
		w.conn.SetReadDeadline(w.within(w.timeout))
		got, err := w.r.Read(buffer[:min(n, len(buffer))])
		look(buffer[:got])
		if w.left -= got; w.left < 0 {
			return errTooMuch
		}
		if n -= got; err != nil {
			return err
		}
	}
	return nil
}

func (w *wire) say(text string) error {
	w.conn.SetWriteDeadline(w.within(w.timeout))
	_, err := w.conn.Write([]byte(text))
	return err
}
