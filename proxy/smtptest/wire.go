package smtptest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	maxLine    = 64 << 10 // octets of a line with its CRLF
	maxMessage = 64 << 20 // octets of a message, without doubled dots
)

// errTooLarge means that a message is longer than maxMessage. It was read to its end.
var errTooLarge = fmt.Errorf("the message has more than %d octets", maxMessage)

// A wire is one end of a connection. It records what is said and heard.
type wire struct {
	conn    net.Conn
	r       *bufio.Reader
	timeout time.Duration // of each read and each write
	says    string        // our side, "C" or "S"
	hears   string        // the other side
	forgets bool          // records nothing

	mu     sync.Mutex // the record may be read during the dialogue
	record Dialogue
}

func newWire(conn net.Conn, timeout time.Duration, says string) *wire {
	hears := "C"
	if says == "C" {
		hears = "S"
	}
	return &wire{conn: conn, r: bufio.NewReader(conn), timeout: timeout, says: says, hears: hears}
}

func (w *wire) note(side, text string) {
	if w.forgets {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record = append(w.record, Line{side, text})
}

func (w *wire) dialogue() Dialogue {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(Dialogue(nil), w.record...)
}

// hear reads one line.
func (w *wire) hear() (string, error) {
	w.conn.SetReadDeadline(time.Now().Add(w.timeout))
	line, err := readLine(w.r)
	if err != nil {
		return "", err
	}
	w.note(w.hears, line)
	return line, nil
}

// say writes lines in one write.
func (w *wire) say(lines ...string) error {
	for _, line := range lines {
		w.note(w.says, line)
	}
	return w.send([]byte(strings.Join(lines, "\r\n") + "\r\n"))
}

func (w *wire) send(octets []byte) error {
	w.conn.SetWriteDeadline(time.Now().Add(w.timeout))
	_, err := w.conn.Write(octets)
	return err
}

// awaitOctet returns when the peer has sent something that was not read yet, or has hung
// up, or after limit.
func (w *wire) awaitOctet(limit time.Duration) {
	w.conn.SetReadDeadline(time.Now().Add(limit))
	w.r.Peek(1)
}

// change replaces the connection by another one over it. It is an error if octets of the
// old connection were already read, since they could be taken for octets of the new one.
func (w *wire) change(conn net.Conn, what string) error {
	if n := w.r.Buffered(); n > 0 {
		return fmt.Errorf("%d octets sent before the change to %s", n, what)
	}
	w.conn = conn
	w.r = bufio.NewReader(conn)
	w.note("~", what)
	return nil
}

// readLine reads up to the next CRLF and returns the line without it. A bare LF or CR is
// part of the line.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if err == io.EOF && len(line) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
		if bytes.HasSuffix(line, []byte("\r\n")) {
			return string(line[:len(line)-2]), nil
		}
		if len(line) > maxLine {
			return "", fmt.Errorf("a line of more than %d octets", maxLine)
		}
	}
}

// readMessage reads up to the final dot and removes the doubling of dots (RFC 5321,
// 4.5.2). Only CRLF . CRLF ends a message.
func readMessage(r *bufio.Reader) ([]byte, error) {
	var body []byte
	tooLarge := false
	for start := true; ; {
		part, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if start && part[0] == '.' {
			if string(part) == ".\r\n" {
				break
			}
			part = part[1:]
		}
		body = append(body, part...)
		start = bytes.HasSuffix(body, []byte("\r\n"))
		if len(body) > maxMessage {
			tooLarge = true
			body = append([]byte(nil), body[len(body)-2:]...)
		}
	}
	if tooLarge {
		return nil, errTooLarge
	}
	return body, nil
}

// stuff prepares a body for the wire: it doubles a dot at the beginning of a line, and
// adds a missing CRLF and the final dot.
func stuff(body []byte) []byte {
	out := make([]byte, 0, len(body)+len(body)/64+8)
	start := true
	for i, c := range body {
		if start && c == '.' {
			out = append(out, '.')
		}
		out = append(out, c)
		start = c == '\n' && i > 0 && body[i-1] == '\r'
	}
	if !start {
		out = append(out, "\r\n"...)
	}
	return append(out, ".\r\n"...)
}
