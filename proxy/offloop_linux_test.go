//go:build !portable

package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"smtpshim/proxy/header"
	"smtpshim/proxy/smtptest"
	"smtpshim/proxy/wire"
	"smtpshim/rewrite"
)

// An obstacle is something that takes its time until it is removed.
type obstacle struct {
	met, removed chan struct{}
	remove       func()
}

// newObstacle makes one that is removed when the test ends, at the latest: before
// whatever the test has begun until now is closed.
func newObstacle(t *testing.T) obstacle {
	removed := make(chan struct{})
	o := obstacle{make(chan struct{}, 1), removed, sync.OnceFunc(func() { close(removed) })}
	t.Cleanup(o.remove)
	return o
}

// wait waits until it is removed.
func (o obstacle) wait() {
	select {
	case o.met <- struct{}{}:
	default: // it was met before
	}
	<-o.removed
}

// meet waits until somebody waits for the obstacle.
func (o obstacle) meet(t *testing.T) {
	t.Helper()
	select {
	case <-o.met:
	case <-time.After(time.Minute):
		t.Fatal("nobody comes by")
	}
}

// wantOthersServed has sessions pass while something else waits.
func wantOthersServed(t *testing.T, p *Proxy, address string) {
	t.Helper()
	for range 20 {
		if wantGreeting(t, p.Addr(address), "220 a"); t.Failed() {
			t.FailNow()
		}
	}
}

// A slowAcceptor has files that take their time.
type slowAcceptor struct{ obstacle }

func (slowAcceptor) Stale() bool { return true }
func (a slowAcceptor) Refresh()  { a.wait() }
func (slowAcceptor) Handshake(context.Context, net.Conn, netip.Addr) (*tls.Conn, error) {
	return nil, errors.New("no handshake here")
}

// slowDialer is the same for servers.
type slowDialer struct{ slowAcceptor }

func (slowDialer) Handshake(context.Context, net.Conn, string) (*tls.Conn, error) {
	return nil, errors.New("no handshake here")
}

func TestFilesOfCertificatesKeepNoOtherSessionWaiting(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // one loop
	for side, change := range map[string]func(*Route, slowAcceptor){
		"client": func(r *Route, a slowAcceptor) {
			r.ClientTLS = ClientTLS{Mode: rewrite.ClientTLSImplicit, Acceptor: a}
		},
		"server": func(r *Route, a slowAcceptor) {
			r.ServerTLS = ServerTLS{Mode: rewrite.ServerTLSImplicit, Dialer: slowDialer{a}}
		},
	} {
		t.Run(side, func(t *testing.T) {
			server := greeter(t, "tcp", "127.0.0.1:0", "a").Addr().String()
			p := apply(t, &Route{Listen: []string{"127.0.0.1:0"}, Servers: []string{server}})
			slow := slowAcceptor{newObstacle(t)}
			r := &Route{Name: "slow", Listen: []string{"127.0.0.2:0"}, Servers: []string{server}}
			change(r, slow)
			good := &Route{Name: "in", Listen: []string{"127.0.0.1:0"}, Servers: []string{server}}
			if err := p.Apply([]*Route{good, r}); err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", p.Addr("127.0.0.2:0").String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			slow.meet(t)
			wantOthersServed(t, p, "127.0.0.1:0")
			slow.remove()
			smtptest.Play(conn, time.Minute, smtptest.ExpectEnd())
		})
	}
}

func TestAddressesOfThisMachineKeepNoOtherSessionWaiting(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // one loop
	server := greeter(t, "tcp", "127.0.0.1:0", "a").Addr().String()
	slow := newObstacle(t)
	p := apply(t, &Route{Listen: []string{"0.0.0.0:0"}, Servers: []string{server}})
	p.addresses = func() ([]net.Addr, error) {
		slow.wait()
		return nil, nil
	}
	port := header.AddrPort(p.Addr("0.0.0.0:0")).Port()
	loops := make(chan bool, 1)
	p.loops.Go(func(c *wire.Runner) {
		s := &session{proxy: p, runner: c, route: &running{Route: &Route{}}}
		loops <- s.wouldLoop(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port))
	})
	slow.meet(t)
	done := make(chan struct{})
	p.loops.Go(func(*wire.Runner) { close(done) })
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the loop waits")
	}
	slow.remove()
	if <-loops {
		t.Error("192.0.2.1 is taken for an address of ours")
	}
}

// TestApplyKeepsNoSessionWaiting has it look for the name of an address, which takes
// its time.
func TestApplyKeepsNoSessionWaiting(t *testing.T) {
	server := greeter(t, "tcp", "127.0.0.1:0", "a").Addr().String()
	r := &Route{Listen: []string{"127.0.0.1:0"}, Servers: []string{server}}
	p := apply(t, r)
	slow := newObstacle(t)
	defer func(before *net.Resolver) { net.DefaultResolver = before }(net.DefaultResolver)
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		slow.wait()
		return nil, errors.New("no name server here")
	}}
	failed := make(chan error, 1)
	go func() {
		failed <- p.Apply([]*Route{r, {Name: "named", Listen: []string{"slow.example.com:0"}, Servers: []string{server}}})
	}()
	slow.meet(t)
	wantOthersServed(t, p, "127.0.0.1:0")
	slow.remove()
	if err := <-failed; err == nil {
		t.Error("a name that is not known is listened on")
	}
	wantOthersServed(t, p, "127.0.0.1:0")
}
