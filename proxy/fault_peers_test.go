package proxy

import (
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// A tube is one end of a connection in memory that buffers what is written, as
// TCP does, and can be closed by half. Time may stand still for it.
type tube struct {
	in, out *flow
}

func tubes() (a, b *tube) {
	x, y := newFlow(), newFlow()
	return &tube{x, y}, &tube{y, x}
}

func (t *tube) Read(b []byte) (int, error)         { return t.in.read(b) }
func (t *tube) Write(b []byte) (int, error)        { return t.out.write(b) }
func (t *tube) CloseWrite() error                  { t.out.end(io.EOF); return nil }
func (t *tube) LocalAddr() net.Addr                { return nil }
func (t *tube) RemoteAddr() net.Addr               { return nil }
func (t *tube) SetReadDeadline(at time.Time) error { t.in.until(&t.in.readBy, at); return nil }
func (t *tube) SetWriteDeadline(at time.Time) error {
	t.out.until(&t.out.writeBy, at)
	return nil
}
func (t *tube) SetDeadline(at time.Time) error {
	t.SetReadDeadline(at)
	return t.SetWriteDeadline(at)
}
func (t *tube) Close() error {
	t.in.close()
	t.out.end(io.EOF)
	return nil
}

// A flow is one direction.
type flow struct {
	mu              sync.Mutex
	changed         *sync.Cond
	b               []byte
	err             error // for the reader, behind what is buffered
	closed          bool  // by the reader
	readBy, writeBy time.Time
}

const flowSize = 64 << 10

func newFlow() *flow {
	f := &flow{}
	f.changed = sync.NewCond(&f.mu)
	return f
}

func (f *flow) until(which *time.Time, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*which = at
	f.changed.Broadcast()
	if wait := time.Until(at); !at.IsZero() && wait > 0 {
		time.AfterFunc(wait, f.changed.Broadcast)
	}
}

func late(at time.Time) bool { return !at.IsZero() && !time.Now().Before(at) }

func (f *flow) read(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.closed:
			return 0, net.ErrClosed
		case late(f.readBy):
			return 0, os.ErrDeadlineExceeded
		case len(f.b) > 0:
			n := copy(b, f.b)
			f.b = f.b[n:]
			f.changed.Broadcast()
			return n, nil
		case f.err != nil:
			return 0, f.err
		}
		f.changed.Wait()
	}
}

func (f *flow) write(b []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(b) > 0 {
		switch {
		case f.closed, f.err != nil:
			return n, net.ErrClosed
		case late(f.writeBy):
			return n, os.ErrDeadlineExceeded
		case len(f.b) < flowSize:
			k := min(len(b), flowSize-len(f.b))
			f.b, b, n = append(f.b, b[:k]...), b[k:], n+k
			f.changed.Broadcast()
			continue
		}
		f.changed.Wait()
	}
	return n, nil
}

func (f *flow) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
	f.changed.Broadcast()
}

func (f *flow) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.changed.Broadcast()
}

// A misdeed is what a peer does in place of what it ought to do. right is what
// that would be; done is called when the harm is done. It gives what the other
// side has sent from then on, as far as that could be read.
type misdeed func(conn net.Conn, right string, done func()) string

// drain reads until the other side ends, and closes.
func drain(conn net.Conn) string {
	defer conn.Close()
	got, _ := io.ReadAll(conn)
	return string(got)
}

// leave says that nothing more comes, and drains.
func leave(conn net.Conn) string {
	conn.(interface{ CloseWrite() error }).CloseWrite()
	return drain(conn)
}

// before is a misdeed of octets before what is due.
func before(octets string) misdeed {
	return func(conn net.Conn, right string, done func()) string {
		io.WriteString(conn, octets+right)
		done()
		return leave(conn)
	}
}

// endless is a misdeed that goes on until it is stopped, or much has been taken.
func endless(octets string) misdeed {
	piece := []byte(strings.Repeat(octets, 1000))
	return func(conn net.Conn, _ string, done func()) string {
		defer done()
		for sent := 0; sent < 8<<20; sent += len(piece) {
			if _, err := conn.Write(piece); err != nil {
				break
			}
			done()
		}
		return leave(conn)
	}
}

// misdeeds are what a peer can do. Those that are timed take time.
var misdeeds = []struct {
	name   string
	timed  bool
	server bool // only a server can
	do     misdeed
}{
	{"reset", false, false, func(conn net.Conn, _ string, done func()) string {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
		done()
		return ""
	}},
	{"close", false, false, func(conn net.Conn, _ string, done func()) string {
		conn.Close()
		done()
		return ""
	}},
	{"half close", false, false, func(conn net.Conn, _ string, done func()) string {
		done()
		return leave(conn)
	}},
	{"stall", true, false, func(conn net.Conn, _ string, done func()) string {
		done()
		sleep(conn, time.Hour) // and reads nothing either
		return drain(conn)
	}},
	{"one byte a second", true, false, func(conn net.Conn, right string, done func()) string {
		for _, c := range []byte(right) {
			sleep(conn, time.Second)
			conn.Write([]byte{c})
		}
		sleep(conn, time.Second) // until the other side has heard it, and before it hears the end
		done()
		return leave(conn)
	}},
	{"421 and stall", true, true, func(conn net.Conn, _ string, done func()) string {
		sleep(conn, time.Second)
		io.WriteString(conn, "421 4.3.2 bye\r\n")
		sleep(conn, 10*time.Second) // longer than we keep it back, and keep the client
		done()
		sleep(conn, time.Hour)
		return drain(conn)
	}},
	{"garbage", false, false, before("\x16\x03HTTP/1.1 400\x00 Bad\r Request\r\n")},
	{"endless line", false, false, endless("x")},
	{"endless reply", false, true, endless("250-x\r\n")},
	{"mixed codes", false, true, before("250-a\r\n550 b\r\n")},
}
