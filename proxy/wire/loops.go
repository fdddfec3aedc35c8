package wire

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// loops are what sessions run in: on Linux as many loops as there are processors for
// them, elsewhere none, and each session has a goroutine.
type Loops struct {
	config Config

	mu     sync.Mutex
	all    []*loop // none until there is a listener
	closed bool

	crew      crew
	turnsHeld atomic.Uint64
}

// loopsConfig is what loops need to know of whom they serve.
type Config struct {
	Logger   func() *slog.Logger           // for what the kernel refuses
	Defect   func(d *Defect, doing string) // logs a panic that belongs to no session
	Arriving *sync.WaitGroup               // counts who accepts, and each connection until its session calls Done
	Done     <-chan struct{}               // closed: no goroutine is kept for further sessions
}

func NewLoops(c Config) *Loops {
	ls := &Loops{config: c}
	ls.crew = crew{guard: ls.guard, work: make(chan func()), done: c.Done}
	return ls
}

// held is how many turns of the loops took more than heldTurn.
func (ls *Loops) HeldTurns() uint64 { return ls.turnsHeld.Load() }

// guard calls f, which belongs to no session, and logs a panic of it.
func (ls *Loops) guard(doing string, f func()) {
	if d := Contain(f); d != nil {
		ls.config.Defect(d, doing)
	}
}

// close ends the loops, once there are no sessions any more.
func (ls *Loops) Close() {
	ls.mu.Lock()
	all := ls.all
	ls.all, ls.closed = nil, true
	ls.mu.Unlock()
	for _, l := range all {
		l.close()
	}
}

// An owner is the session that a connection belongs to.
type Session interface {
	// legs returns its connections to the client and the server, nil where there is
	// none. Any goroutine may call it.
	Legs() (client, server *Leg)
	// lose ends the session for a panic that the loop has met.
	Lose(d *Defect)
	// resumeOn has the session go on with c, after park.
	ResumeOn(c *Runner)
}

// A plaza is where connections are accepted at one address.
type Listener struct {
	loops   *Loops
	Sockets []net.Listener // more than one only where they were handed to us
	open    func(c *Runner, conn net.Conn)

	pause atomic.Int64 // after the failure to accept; 0: the last did not fail
	told  logLimiter
}

// close lets nobody in any more, once it returns.
func (p *Listener) Close() {
	for _, socket := range p.Sockets {
		socket.Close()
	}
}

// accepted notes that a connection was. It arrives until it has entered.
func (p *Listener) accepted() {
	p.loops.config.Arriving.Add(1)
	p.pause.Store(0)
}

// failed notes that none could be, as when there are no descriptors, and says how long
// to leave it.
func (p *Listener) failed(at net.Addr, err error) time.Duration {
	pause := min(max(2*time.Duration(p.pause.Load()), 5*time.Millisecond), time.Second)
	p.pause.Store(int64(pause))
	if p.told.allows(time.Now()) { // failures and successes may take turns for long
		p.loops.config.Logger().Error("accepting a connection", "listen", at.String(), "err", err, "again_in", pause)
	}
	return pause
}
