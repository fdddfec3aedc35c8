//go:build linux

package main

import (
	"bytes"
	"errors"
	"io"
	"net"
)

// A wire is one end of a connection, read by lines. What has been read and not
// used is buf[r:w].
type wire struct {
	conn net.Conn
	buf  [4 * kib]byte
	r, w int
}

var (
	errBareLF   = errors.New("a line that ends in a bare LF")
	errLongLine = errors.New("a line longer than the buffer")
)

func (w *wire) buffered() []byte { return w.buf[w.r:w.w] }

// next is the next line without its CRLF, or nil if it is not there as a whole.
// It is valid until the next fill.
func (w *wire) next() ([]byte, error) {
	i := bytes.IndexByte(w.buffered(), '\n')
	if i < 0 {
		return nil, nil
	}
	line := w.buf[w.r : w.r+i]
	w.r += i + 1
	if i == 0 || line[i-1] != '\r' {
		return nil, errBareLF
	}
	return line[:i-1], nil
}

// fill waits for more.
func (w *wire) fill() error {
	if w.r > 0 {
		w.w = copy(w.buf[:], w.buffered())
		w.r = 0
	}
	if w.w == len(w.buf) {
		return errLongLine
	}
	n, err := w.conn.Read(w.buf[w.w:])
	w.w += n
	if n > 0 {
		return nil
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
