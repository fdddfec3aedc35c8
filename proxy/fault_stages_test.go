package proxy

import (
	"context"
	"net"
	"testing"
	"time"

	"smtpshim/proxy/smtptest"
)

// A stage is where a cell of the fault table is played.
type stage interface {
	// meet puts p between a client, which it returns, and a server, for which it calls
	// serve. There is no server in the phase connect.
	meet(t *testing.T, c *cell, p *Proxy, serve func(net.Conn)) (client net.Conn)
	// await waits until ch is closed. It returns false if that takes too long.
	await(ch <-chan struct{}) bool
	// patience limits each wait of a peer.
	patience() time.Duration
	// end is called when the session has ended.
	end()
}

// A sleeper is a connection whose peer sleeps by another clock than that of the machine.
type sleeper interface{ sleep(time.Duration) }

// sleep makes a peer sleep.
func sleep(conn net.Conn, d time.Duration) {
	if s, ok := conn.(sleeper); ok {
		s.sleep(d)
	} else {
		time.Sleep(d)
	}
}

// within waits until ch is closed, at most so long.
func within(most time.Duration, ch <-chan struct{}) bool {
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-ch:
		return true
	case <-late.C:
		return false
	}
}

// inMemory is for a cell in a bubble of synctest.
type inMemory struct{}

func (inMemory) await(ch <-chan struct{}) bool { return within(day, ch) }
func (inMemory) patience() time.Duration       { return day }
func (inMemory) end()                          {}

func (inMemory) meet(_ *testing.T, c *cell, p *Proxy, serve func(net.Conn)) net.Conn {
	p.dial = func(ctx context.Context, _ string) (net.Conn, error) {
		if c.phase == "connect" {
			return nil, unreachable(ctx)
		}
		near, far := tubes()
		go serve(far)
		return near, nil
	}
	p.prepare()
	near, far := tubes()
	go p.accepted(near, newRunning(c.route, "shim.example.com"))
	return far
}

// overTCP is for a cell that takes no time.
type overTCP struct{}

func (overTCP) await(ch <-chan struct{}) bool { return within(testPatience, ch) }
func (overTCP) patience() time.Duration       { return testPatience }
func (overTCP) end()                          {}

func (overTCP) meet(t *testing.T, c *cell, p *Proxy, serve func(net.Conn)) net.Conn {
	l, err := net.Listen("tcp", smtptest.Loopback()+":0")
	if err != nil {
		t.Fatal(err)
	}
	c.route.Servers[0] = l.Addr().String()
	if c.phase == "connect" {
		l.Close()
	}
	go func() {
		if conn, err := l.Accept(); err == nil {
			serve(conn)
		}
		l.Close()
	}()
	return enter(t, c, p)
}

// enter has p serve the route of a cell, and returns a client.
func enter(t *testing.T, c *cell, p *Proxy) net.Conn {
	if err := p.Apply([]*Route{c.route}); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", p.Addr(c.route.Listen[0]).String())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
