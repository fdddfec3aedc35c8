package proxy

import "sync"

// Commands and replies fit the small buffer, long ones the middle one, in which
// also what is mended of a message is made. A message goes fastest through the
// large one.
const (
	smallBuffer  = 4 << 10
	middleBuffer = 128 << 10
	largeBuffer  = 512 << 10
)

var (
	smallBuffers  = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	middleBuffers = sync.Pool{New: func() any { return new([middleBuffer]byte) }}
	largeBuffers  = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// A mendBuffer is one of middle size, for what is mended of a message.
type mendBuffer = [middleBuffer]byte

// getBuffer takes one, putBuffer gives it back.
func getBuffer() *mendBuffer  { return middleBuffers.Get().(*mendBuffer) }
func putBuffer(b *mendBuffer) { middleBuffers.Put(b) }

// consume drops n octets from the front; an empty buffer goes back.
func (l *leg) consume(n int) {
	l.r += n
	if l.r == l.w {
		l.release()
	}
}

func (l *leg) release() {
	switch len(l.buf) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(l.buf))
	case middleBuffer:
		middleBuffers.Put((*[middleBuffer]byte)(l.buf))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(l.buf))
	}
	l.buf, l.r, l.w = nil, 0, 0
}

// forget drops what is buffered. The buffer does not go back: after a panic it may be
// there already.
func (l *leg) forget() { l.buf, l.r, l.w = nil, 0, 0 }

// replace puts other octets in the place of the first n.
func (l *leg) replace(n int, octets []byte) {
	rest := append([]byte(nil), l.buf[l.r+n:l.w]...)
	for l.r = 0; len(octets)+len(rest) > len(l.buf); {
		l.w = len(l.buf)
		l.room()
	}
	l.w = copy(l.buf, octets)
	l.w += copy(l.buf[l.w:], rest)
	l.consume(0)
}

// room makes space behind what is buffered.
func (l *leg) room() {
	switch {
	case l.large && len(l.buf) < largeBuffer:
		l.move(largeBuffers.Get().(*[largeBuffer]byte)[:])
	case l.buf == nil:
		l.buf = smallBuffers.Get().(*[smallBuffer]byte)[:]
	case l.w < len(l.buf):
	case l.r > 0:
		l.w = copy(l.buf, l.buf[l.r:l.w])
		l.r = 0
	case len(l.buf) == smallBuffer:
		l.move(middleBuffers.Get().(*[middleBuffer]byte)[:])
	case len(l.buf) == middleBuffer:
		l.move(largeBuffers.Get().(*[largeBuffer]byte)[:])
	}
}

// spare keeps no more of a buffer through a wait than is needed: the other side
// may leave off in the middle of a message, or of a line, for as long as it likes.
func (l *leg) spare() {
	switch n := l.w - l.r; {
	case n == 0:
		l.release()
	case n < smallBuffer && len(l.buf) > smallBuffer:
		l.move(smallBuffers.Get().(*[smallBuffer]byte)[:])
	}
}

// move changes the buffer for one that has room for what is in it.
func (l *leg) move(to []byte) {
	n := copy(to, l.buffered())
	l.release()
	l.buf, l.w = to, n
}
