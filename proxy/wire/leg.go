package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// A Leg is one side of a session: the connection to the client or to the server, with a
// buffer for what is read from it. An empty buffer is returned to a pool, so that a
// session that waits holds none. A Leg is a plain socket if its connection is a socket
// without TLS. Once Prepare has been called, one goroutine may read the Leg while
// another writes it. Any goroutine may call Interrupt, InterruptWrite and Cut.
type Leg struct {
	Conn    net.Conn
	raw     syscall.RawConn // of Conn if that is a plain socket; else nil
	carrier *carrier        // below Conn if that is TLS over TCP; else nil

	buf  []byte // from a pool; nil while empty
	r, w int    // what has been read and not consumed is buf[r:w]

	*ioState // nil while nothing is read or written

	// Total counts the octets that have been read. If this Leg replaces another Leg of
	// the session, the caller may set Total to that Leg's Total.
	Total int64
	alarm time.Time // the read deadline of Conn, unless it was interrupted
	quiet quiet     // Conn if it is quiet; else nil

	woken      atomic.Bool // by Interrupt, and no Fill has seen it yet
	writeWoken atomic.Bool // by InterruptWrite, until ResumeWrite
	Large      bool        // Fill takes a large buffer at once; else only when a small one is full
	Broken     bool        // a write has failed: the peer has not received everything
	forgotten  bool        // nothing is returned to a pool: see Forget
}

// A quiet connection is told of reads that have left nothing. It does not try again before
// the kernel has reported more.
type quiet interface {
	// quiet is called within a read that has left nothing.
	quiet()
	// look calls f, which reads, if the kernel has reported something since. It does not
	// wait.
	look(f func(fd uintptr) bool) (looked bool, err error)
}

// NewLeg returns a Leg that reads and writes conn: a socket of this package or of package
// net, TLS over what ForTLS returns, or any other connection.
func NewLeg(conn net.Conn) *Leg {
	l := &Leg{Conn: conn}
	switch c := conn.(type) {
	case *tls.Conn:
		l.carrier, _ = c.NetConn().(*carrier)
	case plain:
		if raw, err := rawOf(c); err == nil {
			l.quiet, _ = c.(quiet)
			l.raw = raw
		}
	}
	return l
}

// Buffered returns the octets that have been read and not consumed. The result is valid
// until the next Fill or Replace, or until all of the octets are consumed.
func (l *Leg) Buffered() []byte { return l.buf[l.r:l.w] }

// Line returns the first line of the buffered octets, with its LF. It returns nil if
// they contain no LF. The result is valid for as long as that of Buffered.
func (l *Leg) Line() []byte {
	b := l.Buffered()
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i+1]
	}
	return nil
}

// ErrFull says that nothing more can be read: the largest buffer is full of octets that
// the caller has not consumed.
var ErrFull = errors.New("longer than the largest buffer")

// Fill waits until octets arrive and adds them to the buffer. If Divert has set a pipe,
// Fill moves them into the pipe instead. Fill fails with a timeout when the deadline
// passes, or after Interrupt. If deadline is zero, there is no deadline. Fill returns
// io.EOF when the peer has closed its end, and ErrFull if the buffer is full.
func (l *Leg) Fill(deadline time.Time) error {
	l.Prepare()
	l.deadline, l.took = deadline, 0
	if l.woken.Load() {
		l.woken.Store(false)
		return os.ErrDeadlineExceeded
	}
	err := l.read()
	if err != nil && l.Interrupted(err) {
		l.woken.Store(false)
	}
	return err
}

// read waits for more octets. It sets a deadline only if there is nothing yet, and if no
// earlier one is set: a timer costs more than waking up too early now and then.
func (l *Leg) read() error {
	for {
		err := l.readOnce()
		if err == errBlocked {
			began := l.now()
			err = l.writeRaw(l.rest, l.allowed)
			l.Broken = l.Broken || err != nil
			if IsTimeout(err) {
				return err
			}
			if !l.deadline.IsZero() {
				l.deadline = l.deadline.Add(l.now().Sub(began)) // the deadline is that of the answer
			}
			continue // even if it failed: what the peer said before says why
		}
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || l.woken.Load() || l.late() {
			return err
		}
		if err := l.setAlarm(l.deadline); err != nil {
			return err
		}
		if l.woken.Load() { // and setAlarm has undone it
			return os.ErrDeadlineExceeded
		}
	}
}

// now returns the time by which the deadlines of the connection pass.
func (l *Leg) now() time.Time {
	conn := l.Conn
	if l.carrier != nil {
		conn = l.carrier.plain
	}
	if c, ok := conn.(interface{ now() time.Time }); ok {
		return c.now()
	}
	return time.Now()
}

// late reports whether the deadline has passed.
func (l *Leg) late() bool { return !l.deadline.IsZero() && !l.now().Before(l.deadline) }

// arm ensures that the next wait does not outlast the deadline.
func (l *Leg) arm() error {
	if l.alarm.IsZero() || !l.deadline.IsZero() && l.deadline.Before(l.alarm) {
		if err := l.setAlarm(l.deadline); err != nil {
			return err
		}
	}
	if l.woken.Load() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (l *Leg) setAlarm(at time.Time) error {
	l.alarm = at
	return l.Conn.SetReadDeadline(at)
}

// Disarm removes the deadlines of reads and writes, for a caller that sets its own on the
// connection.
func (l *Leg) Disarm() {
	l.setAlarm(time.Time{})
	l.Conn.SetWriteDeadline(time.Time{})
}

func (l *Leg) readOnce() error {
	switch {
	case l.raw != nil:
		l.readN, l.readErr, l.took = 0, nil, 0
		var err error
		l.done = false
		if l.asking != nil {
			err = l.askNow()
		}
		if err == nil && !l.done && l.quiet != nil { // raw.Read may then wait before it calls readFD
			l.spare()
			err = l.arm()
		}
		if err == nil && !l.done {
			err = l.raw.Read(l.readFunc)
		}
		if err == nil {
			err = l.readErr
		}
		return l.have(l.readN, err)
	case l.carrier != nil:
		for {
			if err := l.readNow(ifTold); err != errNothing {
				l.readOn(err)
				return err
			}
			l.spare()
			if err := l.arm(); err != nil {
				return err
			}
			if err := l.carrier.await(); err != nil {
				return err
			}
		}
	}
	if err := l.arm(); err != nil {
		return err
	}
	return l.readConn()
}

// readConn reads from a connection that is no plain socket: the buffer is taken first.
func (l *Leg) readConn() error {
	l.room()
	if l.w == len(l.buf) {
		return ErrFull
	}
	n, err := l.Conn.Read(l.buf[l.w:])
	if n > 0 {
		err = nil
	}
	return l.have(n, err)
}

// readNow reads from TLS without waiting; errNothing if there is nothing.
func (l *Leg) readNow(below patience) error {
	l.carrier.patience = below
	err := l.readConn()
	l.carrier.patience = waits
	if err, ok := err.(net.Error); ok && err == errNothing {
		return errNothing
	}
	return err
}

// manyRecords is how much of a message under TLS is read at once, if it is there.
// Otherwise each record would be written on its own.
const manyRecords = 128 << 10

// readOn reads the records of a message behind the first. It ignores errors: the next
// read returns them too.
func (l *Leg) readOn(err error) {
	for err == nil && l.Large && l.w < manyRecords {
		err = l.readNow(ifTold)
	}
}

func (l *Leg) have(n int, err error) error {
	l.w += n
	l.Total += int64(n)
	if l.buf != nil && l.r == l.w {
		l.Release()
	}
	return err
}

// readFD is called when there may be something to read; only then a buffer is taken. It
// reports whether it is done; else it is called again.
func (l *Leg) readFD(fd uintptr) bool {
	if l.into != nil {
		return l.takeFD(fd)
	}
	l.room()
	if l.w == len(l.buf) {
		l.readErr = ErrFull
		return true
	}
	l.readN, l.readErr = readNow(fd, l.buf[l.w:])
	if l.quiet != nil && l.readErr == nil && l.readN < len(l.buf)-l.w {
		l.quiet.quiet()
	}
	if l.asking != nil {
		l.readErr = l.asked(fd, l.readErr)
	}
	if l.readErr != errNothing {
		return true
	}
	l.spare()
	if err := l.arm(); err != nil {
		l.readErr = err
		return true
	}
	return false
}

// CanSplice reports whether the leg is a plain socket. If it is, the kernel can move
// octets between the leg and a SplicePipe, on a system where NewSplicePipe succeeds.
func (l *Leg) CanSplice() bool { return l.raw != nil }

// Divert makes each Fill move octets into p instead of the buffer. most is the largest
// number of octets that one Fill moves. Divert(nil, 0) ends this.
func (l *Leg) Divert(p *SplicePipe, most int) {
	l.Prepare()
	l.into, l.most, l.took = p, most, 0
}

// Diverted returns how many octets the last Fill has moved into the pipe of Divert.
func (l *Leg) Diverted() int { return l.took }

// takeFD is readFD for a pipe.
func (l *Leg) takeFD(fd uintptr) bool {
	l.took, l.readErr = l.into.take(fd, l.most)
	l.Total += int64(l.took)
	if l.readErr == errNothing {
		l.readErr = l.arm()
		return l.readErr != nil
	}
	return true
}

// Ask makes the next Fill write b before it waits. If the peer has sent something
// before that, Fill does not write b, but reads what was sent and returns ErrSpoke.
// allowed limits the time that the write may wait for room. Fill's deadline is put off
// by the time that the write has waited. b must not be changed until Fill has returned.
// In a loop, Ask and Fill make no more system calls than Write and Fill.
//
// Ask returns true if the next Fill will do this. It returns false, and does nothing,
// if octets are buffered or the leg is no plain socket.
func (l *Leg) Ask(b []byte, allowed time.Duration) bool {
	if l.raw == nil || l.r < l.w {
		return false
	}
	l.Prepare()
	l.asking, l.allowed = b, allowed
	return true
}

// ErrSpoke is returned by the Fill after an Ask if the peer has sent something before
// Fill could write the octets that Ask was given. These octets are then not written.
var ErrSpoke = errors.New("the other side sent data before it was expected")

// errBlocked says that there is no room for all of the question. The ioState's rest is what
// is left to write.
var errBlocked = errors.New("there is no room for all of it")

// askNow asks, unless the peer has spoken. If the kernel reports what there is to read, its
// word is enough: a read in vain would cost one more system call for each command. What
// comes in the moment before the question is missed, as is what comes in the moment after
// it. The end of a message is checked by Spoke.
func (l *Leg) askNow() error {
	if l.quiet != nil {
		looked, err := l.quiet.look(l.readFunc)
		if looked || err != nil {
			l.done = l.readErr != errNothing
			return err
		}
	}
	return l.raw.Control(l.askFunc)
}

// askFD is askNow where nothing is known to be there.
func (l *Leg) askFD(fd uintptr) {
	if l.quiet != nil {
		l.readErr = l.asked(fd, errNothing)
	} else {
		l.readFD(fd)
	}
	l.done = l.readErr != errNothing
}

// asked writes the question if a read has found nothing.
func (l *Leg) asked(fd uintptr, found error) error {
	b := l.asking
	l.asking = nil
	switch found {
	case errNothing:
	case nil:
		return ErrSpoke
	default:
		return found
	}
	n, err := writeNow(fd, b)
	switch {
	case n == len(b):
		return errNothing
	case err == nil, err == syscall.EAGAIN, err == syscall.EINTR:
		l.rest = b[max(n, 0):]
		return errBlocked
	}
	l.Broken = true // what the peer said before may still be there, and says why
	l.room()
	l.readN, err = readNow(fd, l.buf[l.w:])
	return err
}

// Interrupt makes the Fill that is under way fail with a timeout. If none is under way,
// the next Fill fails. Any goroutine may call Interrupt.
func (l *Leg) Interrupt() {
	l.woken.Store(true)
	l.Conn.SetReadDeadline(longAgo)
}

// IsTimeout reports whether err is a timeout: a deadline has passed, or Interrupt or
// InterruptWrite has ended the read or write.
func IsTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

var longAgo = time.Unix(1, 0)

// Interrupted reports whether err, which the last Fill has returned, is a timeout that
// Interrupt caused, and not the deadline of that Fill.
func (l *Leg) Interrupted(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && !l.late()
}

// Spoke reports, without waiting, whether there is anything to read or the peer has hung
// up. If the leg is neither a plain socket nor TLS over ForTLS, Spoke only reports whether
// octets are buffered.
func (l *Leg) Spoke() bool {
	switch {
	case l.w > l.r:
		return true
	case l.carrier != nil:
		return l.readNow(looks) != errNothing
	case l.raw == nil:
		return false
	}
	l.Prepare()
	l.ready = false
	l.raw.Control(l.lookFunc)
	return l.ready
}

// Sent reports, without waiting, whether there are octets to read. Unlike Spoke, it
// does not report that the peer has hung up. If the leg is neither a plain socket nor
// TLS over ForTLS, Sent only reports whether octets are buffered.
func (l *Leg) Sent() bool {
	switch {
	case l.w > l.r:
		return true
	case l.carrier != nil:
		l.readNow(looks)
		return l.w > l.r
	case l.raw == nil:
		return false
	}
	n := 0
	l.raw.Control(func(fd uintptr) {
		var one [1]byte
		n, _ = peek(fd, one[:])
	})
	return n > 0
}

// Peek returns up to three octets that have arrived and are not yet in the buffer, and
// leaves them to be read. If there are none, Peek waits for octets until the deadline;
// it does not wait if the deadline has passed or is zero. It returns nothing if none
// arrive or the leg is no plain socket.
func (l *Leg) Peek(deadline time.Time) []byte {
	if l.raw == nil {
		return nil
	}
	first := make([]byte, 3)
	n, waits := 0, deadline.After(l.now())
	look := func(fd uintptr) bool {
		var err error
		n, err = peek(fd, first)
		return !waits || err != syscall.EAGAIN && err != syscall.EINTR
	}
	if !waits {
		l.raw.Control(func(fd uintptr) { look(fd) })
	} else if l.setAlarm(deadline) != nil || l.raw.Read(look) != nil {
		return nil
	}
	return first[:max(n, 0)]
}

// CloseWrite tells the peer that nothing more will be sent. It does nothing if the
// connection has no method CloseWrite.
func (l *Leg) CloseWrite() {
	if c, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
}

// Close closes the connection. The leg must not be read or written afterwards.
func (l *Leg) Close() {
	l.Release()
	l.Conn.Close()
	l.releaseIO()
}

// Cut closes the connection at once, without the alert of TLS, because sending it may have
// to wait. Reads and writes that are under way fail. Any goroutine may call Cut.
func (l *Leg) Cut() {
	conn := l.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	conn.Close()
}
