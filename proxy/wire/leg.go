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

// A leg is one side of a session: the connection to the client or to the
// server, with the one buffer that is ever read into. It holds no buffer while
// there is nothing in it.
type Leg struct {
	Conn net.Conn
	raw  syscall.RawConn // of conn, if it is a plain socket; else nil
	wire *wire           // below conn, if that is TLS over TCP; else nil

	buf  []byte // from a pool; nil while empty
	r, w int    // what has been read and not consumed is buf[r:w]

	*hands // nil while nothing is read or written

	Total int64     // octets read so far
	alarm time.Time // the read deadline of conn, unless it has been woken
	quiet quiet     // nil: nobody wants to know

	woken      atomic.Bool // by interrupt, and no fill has seen it yet
	writeWoken atomic.Bool // by interruptWrite, until resumeWrite
	Large      bool        // a message is on its way: large buffers pay
	Broken     bool        // a write has failed: the other side does not have all
}

// A quiet connection wants to know of reads that have left nothing: it does not look
// for more then until the kernel says that there is some.
type quiet interface {
	// quiet says, within a read, that it has left nothing.
	quiet()
	// look has f read, if the kernel has said that there may be something since. It
	// does not wait.
	look(f func(fd uintptr) bool) (looked bool, err error)
}

func NewLeg(conn net.Conn) *Leg {
	l := &Leg{Conn: conn}
	switch c := conn.(type) {
	case *tls.Conn:
		l.wire, _ = c.NetConn().(*wire)
	case plain:
		if raw, err := rawOf(c); err == nil {
			l.quiet, _ = c.(quiet)
			l.raw = raw
		}
	}
	return l
}

// buffered is what has been read and not consumed. It is valid until the next fill.
func (l *Leg) Buffered() []byte { return l.buf[l.r:l.w] }

// line is the first whole line of what is buffered, with its LF, or nil.
func (l *Leg) Line() []byte {
	b := l.Buffered()
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i+1]
	}
	return nil
}

// errFull says that something is longer than the largest buffer.
var ErrFull = errors.New("longer than the largest buffer")

// fill waits for more octets, at most until the deadline.
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

// read waits for more octets. A deadline is set only if there is nothing yet, and
// if none is that comes before: a timer costs more than to be woken too early
// now and then.
func (l *Leg) read() error {
	for {
		err := l.readOnce()
		if err == errBlocked {
			began := time.Now()
			err = l.writeRaw(l.rest, l.allowed)
			l.Broken = l.Broken || err != nil
			if IsTimeout(err) {
				return err
			}
			if !l.deadline.IsZero() {
				l.deadline = l.deadline.Add(time.Since(began)) // it is for the answer
			}
			continue // also if it failed: what was said before says why
		}
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || l.woken.Load() || l.late() {
			return err
		}
		if err := l.setAlarm(l.deadline); err != nil {
			return err
		}
		if l.woken.Load() { // and the alarm has been undone
			return os.ErrDeadlineExceeded
		}
	}
}

// late says whether the deadline is over.
func (l *Leg) late() bool { return !l.deadline.IsZero() && !time.Now().Before(l.deadline) }

// arm sees to it that the wait that follows does not outlast the deadline.
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

// disarm takes all deadlines away, for what has its own.
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
		if err == nil && !l.done && l.quiet != nil { // then it may wait without asking readFD first
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
	case l.wire != nil:
		for {
			if err := l.readNow(ifTold); err != errNothing {
				l.readOn(err)
				return err
			}
			l.spare()
			if err := l.arm(); err != nil {
				return err
			}
			if err := l.wire.await(); err != nil {
				return err
			}
		}
	}
	if err := l.arm(); err != nil {
		return err
	}
	return l.readConn()
}

// readConn reads with a buffer in hand.
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
	l.wire.patience = below
	err := l.readConn()
	l.wire.patience = waits
	if err, ok := err.(net.Error); ok && err == errNothing {
		return errNothing
	}
	return err
}

// manyRecords is how much of a message that comes by TLS is read at once, if it is
// there: what came by one record would else go by one call.
const manyRecords = 128 << 10

// readOn reads the records of a message behind the first. What goes wrong, the next
// read hears too.
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

// readFD is called when there may be something to read; only then a buffer is
// taken. It says whether it is done, rather than to be called again.
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

// canSplice says whether the leg is a plain socket, between which and a pipe the kernel
// can move octets.
func (l *Leg) CanSplice() bool { return l.raw != nil }

// divert has each fill move what there is into a pipe, so many octets at most, until it
// is called with nil.
func (l *Leg) Divert(p *SplicePipe, most int) {
	l.Prepare()
	l.into, l.most, l.took = p, most, 0
}

// diverted is how many octets the last fill has moved into the pipe.
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

// ask has b written by the next fill, once that has seen that the other side has
// said nothing: else it gives errSpoke, and nothing is written. This costs no
// system call that writing and waiting would not. It is false if this cannot be
// done here, and then nothing is. b has to stay as it is until then.
func (l *Leg) Ask(b []byte, allowed time.Duration) bool {
	if l.raw == nil || l.r < l.w {
		return false
	}
	l.Prepare()
	l.asking, l.allowed = b, allowed
	return true
}

var (
	ErrSpoke   = errors.New("the other side spoke before it was asked")
	errBlocked = errors.New("there is no room for all of it") // but for rest there will be
)

// askNow asks, unless the other side has spoken. A connection that is told by the
// kernel when there is something to read is believed: a read in vain would cost each
// command a system call more. What comes in the moment before the question is missed,
// as is what comes in the moment behind it; the end of a message is looked at closer.
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

// askFD is what askNow does where nothing is known to be there.
func (l *Leg) askFD(fd uintptr) {
	if l.quiet != nil {
		l.readErr = l.asked(fd, errNothing)
	} else {
		l.readFD(fd)
	}
	l.done = l.readErr != errNothing
}

// asked writes what is to be asked if a read has found nothing.
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
	l.Broken = true // what was said before may be there still, and says why
	l.room()
	l.readN, err = readNow(fd, l.buf[l.w:])
	return err
}

// interrupt ends the fill that is under way, or else the next one, with a
// timeout; interrupted tells it from a real one.
func (l *Leg) Interrupt() {
	l.woken.Store(true)
	l.Conn.SetReadDeadline(longAgo)
}

// timedOut says whether a deadline is why a connection failed.
func IsTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

var longAgo = time.Unix(1, 0)

func (l *Leg) Interrupted(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && !l.late()
}

// spoke says, without waiting, whether there is anything to read or the other
// side has hung up.
func (l *Leg) Spoke() bool {
	switch {
	case l.w > l.r:
		return true
	case l.wire != nil:
		return l.readNow(looks) != errNothing
	case l.raw == nil:
		return false
	}
	l.Prepare()
	l.ready = false
	l.raw.Control(l.lookFunc)
	return l.ready
}

// sent says, without waiting, whether there are octets to read.
func (l *Leg) Sent() bool {
	switch {
	case l.w > l.r:
		return true
	case l.wire != nil:
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

// peek gives the first octets of what the other side has sent, and leaves them
// to be read. It waits for some until the deadline, not at all if that is past.
func (l *Leg) Peek(deadline time.Time) []byte {
	if l.raw == nil {
		return nil
	}
	first := make([]byte, 3)
	n, waits := 0, deadline.After(time.Now())
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

// closeWrite tells the other side that nothing more comes, where that can be told.
func (l *Leg) CloseWrite() {
	if c, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
}

// close ends the connection. Nobody reads or writes it any more.
func (l *Leg) Close() {
	l.Release()
	l.Conn.Close()
	l.letGo()
}

// cut closes without a word, for which TLS would wait.
func (l *Leg) Cut() {
	conn := l.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	conn.Close()
}
