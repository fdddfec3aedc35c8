package wire

import (
	"sync"
	"time"
)

// An ioState is what a leg needs while it reads or writes. Most sessions wait for their
// clients, and their legs have none.
type ioState struct {
	leg *Leg

	deadline time.Time   // of the read that is under way
	into     *SplicePipe // where Fill puts what there is; nil: into the buffer
	most     int         // octets at once, for into
	took     int         // octets that the last Fill has moved into it
	asking   []byte      // what the next Fill writes, once it has found that nothing was said
	readN    int
	readErr  error
	done     bool
	ready    bool

	from       *SplicePipe // what a write sends; nil: rest
	rest       []byte      // what is left of the write that is under way
	allowed    time.Duration
	writeErr   error
	writeArmed bool

	// Made once, so that a command does not allocate.
	readFunc, writeFunc func(fd uintptr) bool
	lookFunc, askFunc   func(fd uintptr)
}

// ioStates are those that no leg has.
var ioStates = sync.Pool{New: func() any {
	h := &ioState{}
	h.readFunc = func(fd uintptr) bool { return h.leg.readFD(fd) }
	h.writeFunc = func(fd uintptr) bool { return h.leg.writeFD(fd) }
	h.askFunc = func(fd uintptr) { h.leg.askFD(fd) }
	h.lookFunc = func(fd uintptr) { h.ready = readable(fd) }
	return h
}}

// Prepare gives the leg the state that its reads and writes need. Reads and writes call it
// themselves. It must be called before two goroutines use the leg at the same time.
func (l *Leg) Prepare() {
	if l.ioState == nil {
		l.ioState = ioStates.Get().(*ioState)
		l.ioState.leg = l
	}
}

// releaseIO returns the leg's ioState to its pool. Nothing may be read or written
// meanwhile.
func (l *Leg) releaseIO() {
	h := l.ioState
	if h == nil || l.forgotten {
		return
	}
	l.ioState = nil
	*h = ioState{readFunc: h.readFunc, writeFunc: h.writeFunc, lookFunc: h.lookFunc, askFunc: h.askFunc}
	ioStates.Put(h)
}
