package wire

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Loops run sessions. On Linux they are event loops, one fewer than processors
// (runtime.GOMAXPROCS) and at least one. Elsewhere, and with the build tag portable,
// there are no event loops, and each session has a goroutine.
type Loops struct {
	config Config

	mu     sync.Mutex
	all    []*loop // empty until the first Listen
	closed bool

	workers   workers
	turnsHeld atomic.Uint64
}

// A Config is what Loops need from whoever uses them. All of its fields must be set.
type Config struct {
	// Logger returns the log for errors that the kernel returns, such as on accept.
	Logger func() *slog.Logger
	// Defect logs the panic d, which belongs to no session. doing says what was being
	// done, such as "accepting connections".
	Defect func(d *Defect, doing string)
	// Arriving counts each accepted connection, and each goroutine that accepts
	// connections. The function passed to Listener.Serve calls Arriving.Done once for
	// its connection, after it has recorded that connection as a session or refused it.
	Arriving *sync.WaitGroup
	// Done is closed when no further session will come. Until then, goroutines whose
	// session has ended may be kept for others.
	Done <-chan struct{}
	// Now returns the present time, with which deadlines are compared. It is time.Now
	// except in tests.
	Now func() time.Time
}

// NewLoops returns Loops with the configuration c. No loop runs before Listen.
func NewLoops(c Config) *Loops {
	ls := &Loops{config: c}
	ls.workers = workers{guard: ls.guard, work: make(chan func()), done: c.Done}
	return ls
}

// HeldTurns returns how many turns of the loops have taken longer than 100 ms. A turn
// is what a loop does from one wait to the next. The loop's other sessions wait
// meanwhile.
func (ls *Loops) HeldTurns() uint64 { return ls.turnsHeld.Load() }

// guard calls f, which belongs to no session, and logs a panic of it.
func (ls *Loops) guard(doing string, f func()) {
	if d := Contain(f); d != nil {
		ls.config.Defect(d, doing)
	}
}

// Close ends the loops. All sessions must have ended before.
func (ls *Loops) Close() {
	ls.mu.Lock()
	all := ls.all
	ls.all, ls.closed = nil, true
	ls.mu.Unlock()
	for _, l := range all {
		l.close()
	}
}

// A Session is what a loop knows of the session that a connection belongs to.
type Session interface {
	// Legs returns the session's legs to the client and to the server, nil for one
	// that it does not have. Any goroutine may call it.
	Legs() (client, server *Leg)
	// Lose ends the session because of d, a panic that the loop has contained while it
	// served one of the session's legs. It must not wait.
	Lose(d *Defect)
	// ResumeOn continues the session, which has waited by Runner.Idle, on r. The loop
	// calls it when that wait ends.
	ResumeOn(r *Runner)
}

// A Listener accepts connections and opens a session for each. Loops.Listen makes it.
type Listener struct {
	// Sockets are the sockets that the Listener accepts from. There may be several if
	// they were inherited from another process.
	Sockets []net.Listener

	loops *Loops
	open  func(r *Runner, conn net.Conn)

	pause  atomic.Int64 // the pause after the last failure to accept; 0: the last accept was good
	logged logLimiter
}

// Close stops accepting. No connection is accepted after it has returned.
func (l *Listener) Close() {
	for _, socket := range l.Sockets {
		socket.Close()
	}
}

// accepted counts a connection that was accepted, until its session calls Done.
func (l *Listener) accepted() {
	l.loops.config.Arriving.Add(1)
	l.pause.Store(0)
}

// failed logs a failure to accept, for want of descriptors for example, and returns how
// long to pause.
func (l *Listener) failed(at net.Addr, err error) time.Duration {
	pause := min(max(2*time.Duration(l.pause.Load()), 5*time.Millisecond), time.Second)
	l.pause.Store(int64(pause))
	if l.logged.allows(l.loops.config.Now()) { // failures and successes may alternate for a long time
		l.loops.config.Logger().Error("accepting a connection", "listen", at.String(), "err", err, "again_in", pause)
	}
	return pause
}
