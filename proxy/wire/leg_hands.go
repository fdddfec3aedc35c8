package wire

import (
	"sync"
	"time"
)

// hands are what a leg reads and writes with. Most sessions wait for their clients: they
// read and write nothing, and their legs have none.
type hands struct {
	leg *Leg

	deadline time.Time   // of the read that is under way
	into     *SplicePipe // where fill puts what there is, instead of the buffer; nil: nowhere else
	most     int         // octets at once
	took     int         // octets that the last fill has put there
	asking   []byte      // what the next fill writes, once it has seen that nothing was said
	readN    int
	readErr  error
	done     bool
	ready    bool

	from       *SplicePipe // what write sends, instead of octets in memory
	rest       []byte      // of the write that is under way
	allowed    time.Duration
	writeErr   error
	writeArmed bool

	// Made once: a command must not allocate.
	readFunc, writeFunc func(fd uintptr) bool
	lookFunc, askFunc   func(fd uintptr)
}

// idleHands are nobody's.
var idleHands = sync.Pool{New: func() any {
	h := &hands{}
	h.readFunc = func(fd uintptr) bool { return h.leg.readFD(fd) }
	h.writeFunc = func(fd uintptr) bool { return h.leg.writeFD(fd) }
	h.askFunc = func(fd uintptr) { h.leg.askFD(fd) }
	h.lookFunc = func(fd uintptr) { h.ready = readable(fd) }
	return h
}}

// take sees to it that the leg has hands. Two goroutines that share a leg have it take
// them before they begin.
func (l *Leg) Prepare() {
	if l.hands == nil {
		l.hands = idleHands.Get().(*hands)
		l.hands.leg = l
	}
}

// letGo gives them back, where nothing is read or written.
func (l *Leg) letGo() {
	h := l.hands
	if h == nil {
		return
	}
	l.hands = nil
	*h = hands{readFunc: h.readFunc, writeFunc: h.writeFunc, lookFunc: h.lookFunc, askFunc: h.askFunc}
	idleHands.Put(h)
}
