package wire

import "sync"

// Commands and replies fit the small buffer, long ones the middle one, in which
// also what is mended of a message is made. A message goes fastest through the
// large one.
const (
	SmallBuffer  = 4 << 10
	MiddleBuffer = 128 << 10
	largeBuffer  = 512 << 10
)

var (
	smallBuffers  = sync.Pool{New: func() any { return new([SmallBuffer]byte) }}
	middleBuffers = sync.Pool{New: func() any { return new([MiddleBuffer]byte) }}
	largeBuffers  = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// A Buffer has room for what a caller makes of the octets of a Leg, such as a piece of
// a message that it has changed.
type Buffer = [MiddleBuffer]byte

// GetBuffer takes a Buffer from the pool of Buffers. It may contain any octets.
func GetBuffer() *Buffer { return middleBuffers.Get().(*Buffer) }

// PutBuffer returns b to the pool of Buffers. The caller must not use b afterwards.
func PutBuffer(b *Buffer) { middleBuffers.Put(b) }

// Consume drops the first n buffered octets. If none are left, the buffer returns to its
// pool.
func (l *Leg) Consume(n int) {
	l.r += n
	if l.r == l.w {
		l.Release()
	}
}

// Release drops all buffered octets and returns the buffer to its pool.
func (l *Leg) Release() {
	if l.forgotten {
		l.Forget()
		return
	}
	switch len(l.buf) {
	case SmallBuffer:
		smallBuffers.Put((*[SmallBuffer]byte)(l.buf))
	case MiddleBuffer:
		middleBuffers.Put((*[MiddleBuffer]byte)(l.buf))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(l.buf))
	}
	l.buf, l.r, l.w = nil, 0, 0
}

// Forget drops all buffered octets, and makes the leg return nothing to a pool from
// then on. It is for use after a panic: the leg's buffer may be in the pool already, or
// another goroutine may still read or write it.
func (l *Leg) Forget() { l.buf, l.r, l.w, l.forgotten = nil, 0, 0, true }

// Replace replaces the first n buffered octets by octets, which may be longer or shorter.
func (l *Leg) Replace(n int, octets []byte) {
	rest := append([]byte(nil), l.buf[l.r+n:l.w]...)
	for l.r = 0; len(octets)+len(rest) > len(l.buf); {
		l.w = len(l.buf)
		l.room()
	}
	l.w = copy(l.buf, octets)
	l.w += copy(l.buf[l.w:], rest)
	l.Consume(0)
}

// room makes space behind what is buffered.
func (l *Leg) room() {
	switch {
	case l.Large && len(l.buf) < largeBuffer:
		l.move(largeBuffers.Get().(*[largeBuffer]byte)[:])
	case l.buf == nil:
		l.buf = smallBuffers.Get().(*[SmallBuffer]byte)[:]
	case l.w < len(l.buf):
	case l.r > 0:
		l.w = copy(l.buf, l.buf[l.r:l.w])
		l.r = 0
	case len(l.buf) == SmallBuffer:
		l.move(middleBuffers.Get().(*[MiddleBuffer]byte)[:])
	case len(l.buf) == MiddleBuffer:
		l.move(largeBuffers.Get().(*[largeBuffer]byte)[:])
	}
}

// spare keeps no more of a buffer through a wait than is needed: the other side
// may leave off in the middle of a message, or of a line, for as long as it likes.
func (l *Leg) spare() {
	switch n := l.w - l.r; {
	case n == 0:
		l.Release()
	case n < SmallBuffer && len(l.buf) > SmallBuffer:
		l.move(smallBuffers.Get().(*[SmallBuffer]byte)[:])
	}
}

// move changes the buffer for one that has room for what is in it.
func (l *Leg) move(to []byte) {
	n := copy(to, l.Buffered())
	l.Release()
	l.buf, l.w = to, n
}
