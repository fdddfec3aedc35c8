package proxy

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// loops are what sessions run in: on Linux as many loops as there are processors for
// them, elsewhere none, and each session has a goroutine.
type loops struct {
	loopsConfig

	mu     sync.Mutex
	all    []*loop // none until there is a listener
	closed bool

	crew      crew
	turnsHeld atomic.Uint64
}

// loopsConfig is what loops need to know of whom they serve.
type loopsConfig struct {
	logger   func() *slog.Logger           // for what the kernel refuses
	defect   func(d *defect, doing string) // logs a panic that belongs to no session
	arriving *sync.WaitGroup               // counts who accepts, and each connection until its session calls Done
	done     <-chan struct{}               // closed: no goroutine is kept for further sessions
}

func newLoops(c loopsConfig) *loops {
	ls := &loops{loopsConfig: c}
	ls.crew = crew{guard: ls.guard, work: make(chan func()), done: c.done}
	return ls
}

// held is how many turns of the loops took more than heldTurn.
func (ls *loops) held() uint64 { return ls.turnsHeld.Load() }

// guard calls f, which belongs to no session, and logs a panic of it.
func (ls *loops) guard(doing string, f func()) {
	if d := contain(f); d != nil {
		ls.defect(d, doing)
	}
}

// close ends the loops, once there are no sessions any more.
func (ls *loops) close() {
	ls.mu.Lock()
	all := ls.all
	ls.all, ls.closed = nil, true
	ls.mu.Unlock()
	for _, l := range all {
		l.close()
	}
}

// An owner is the session that a connection belongs to.
type owner interface {
	// legs returns its connections to the client and the server, nil where there is
	// none. Any goroutine may call it.
	legs() (client, server *leg)
	// lose ends the session for a panic that the loop has met.
	lose(d *defect)
	// resumeOn has the session go on with c, after park.
	resumeOn(c *coroutine)
}

// A plaza is where connections are accepted at one address.
type plaza struct {
	loops   *loops
	sockets []net.Listener // more than one only where they were handed to us
	open    func(c *coroutine, conn net.Conn)

	pause atomic.Int64 // after the failure to accept; 0: the last did not fail
	told  logLimiter
}

// close lets nobody in any more, once it returns.
func (p *plaza) close() {
	for _, socket := range p.sockets {
		socket.Close()
	}
}

// accepted notes that a connection was. It arrives until it has entered.
func (p *plaza) accepted() {
	p.loops.arriving.Add(1)
	p.pause.Store(0)
}

// failed notes that none could be, as when there are no descriptors, and says how long
// to leave it.
func (p *plaza) failed(at net.Addr, err error) time.Duration {
	pause := min(max(2*time.Duration(p.pause.Load()), 5*time.Millisecond), time.Second)
	p.pause.Store(int64(pause))
	if p.told.allows(time.Now()) { // failures and successes may take turns for long
		p.loops.logger().Error("accepting a connection", "listen", at.String(), "err", err, "again_in", pause)
	}
	return pause
}
