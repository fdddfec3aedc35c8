//go:build !portable

package wire

import (
	"errors"
	"net"
	"runtime"
)

// Listen returns a Listener that accepts from sockets, which are of package net and
// must not be used afterwards. The Listener accepts nothing before Serve. Listen starts
// the loops if they do not run. Each loop occupies one of the runtime's processors
// (runtime.GOMAXPROCS), even while it waits. If there are several processors, one is
// left for everything else, such as collecting garbage.
func (ls *Loops) Listen(sockets ...net.Listener) (*Listener, error) {
	if err := ls.start(); err != nil {
		return nil, err
	}
	l := &Listener{loops: ls}
	for _, socket := range sockets {
		a, err := newAcceptor(socket)
		if err != nil {
			l.Close()
			return nil, err
		}
		l.Sockets = append(l.Sockets, a)
	}
	return l, nil
}

var errLoopsClosed = errors.New("the loops are closed")

// start starts the loops that are missing.
func (ls *Loops) start() error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return errLoopsClosed // nobody would close new ones
	}
	for n := max(runtime.GOMAXPROCS(0)-1, 1); len(ls.all) < n; {
		l, err := startLoop(ls)
		if err != nil {
			return err
		}
		ls.all = append(ls.all, l)
	}
	return nil
}

// Serve begins to accept, and returns without waiting. Until the Listener is closed, it
// calls open for each accepted connection, with a Runner of the loop that the connection
// is in.
func (l *Listener) Serve(open func(*Runner, net.Conn)) {
	l.open = open
	l.loops.mu.Lock()
	all := l.loops.all
	l.loops.mu.Unlock()
	for _, socket := range l.Sockets {
		socket.(*acceptor).serve(l, all)
	}
}

// Go runs f on a Runner of a loop, and returns without waiting. If no loop has started,
// f runs on a goroutine, with a nil Runner.
func (ls *Loops) Go(f func(*Runner)) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if len(ls.all) == 0 {
		ls.workers.do(func() { f(nil) })
		return
	}
	l := ls.all[0]
	l.do(func() { l.begin(f) })
}
