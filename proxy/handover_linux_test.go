package proxy

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
)

// handedOver is a proxy that listens on the same sockets as p, as another process
// would.
func handedOver(t *testing.T, p *Proxy, r *Route) *Proxy {
	t.Helper()
	sockets, err := p.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	defer CloseSockets(sockets)
	next := &Proxy{Logger: p.Logger, Inherited: sockets}
	t.Cleanup(func() { next.Close() })
	if err := next.Apply([]*Route{r}); err != nil {
		t.Fatal(err)
	}
	return next
}

func TestSessionsOutliveTheProxyThatListened(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.sock"), filepath.Join(dir, "out.sock")
	greeter(t, "unix", out, "a")
	r := &Route{Listen: []string{"unix:" + in, "127.0.0.1:0"}, Servers: []string{"unix:" + out}}
	p := apply(t, r)
	local, tcp := p.Addr("unix:"+in), p.Addr("127.0.0.1:0")
	conn, err := net.Dial("tcp", tcp.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line := bufio.NewReader(conn)
	if _, err := line.ReadString('\n'); err != nil {
		t.Fatal(err)
	}

	next := handedOver(t, p, r)
	over, end := context.WithCancel(t.Context())
	end()
	if err := p.Retire(over); !errors.Is(err, context.Canceled) {
		t.Errorf("retired with %v while there is a session", err)
	}
	wantGreeting(t, local, "220 a")
	wantGreeting(t, tcp, "220 a")
	if p.Apply([]*Route{r}) == nil {
		t.Error("a proxy that is retired listens again")
	}
	conn.Close()
	if err := p.Retire(t.Context()); err != nil {
		t.Error(err)
	}
	p.Close()
	wantGreeting(t, local, "220 a")
	wantGreeting(t, tcp, "220 a")
	next.Close()
	if _, err := os.Stat(in); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// A connection may have been accepted, and not be a session yet.
func TestWhoWasAcceptedBeforeHearsWhatBecomesOfIt(t *testing.T) {
	for what, stop := range map[string]func(*Proxy, context.Context) error{"retired": (*Proxy).Retire, "drained": (*Proxy).Drain} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &Proxy{Logger: slog.New(slog.DiscardHandler)}
				p.dial = func(context.Context, string) (net.Conn, error) { return nil, errors.New("no server") }
				if err := p.Apply(nil); err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				p.arriving.Add(1)
				done := make(chan error, 1)
				go func() { done <- stop(p, t.Context()) }()
				synctest.Wait()
				near, far := net.Pipe()
				go p.open(nil, near, newRunning(&Route{Name: "test", Servers: []string{"192.0.2.1:25"}}, "shim.example.com"))
				synctest.Wait()
				select {
				case <-done:
					t.Errorf("%s before it has heard anything", what)
				default:
				}
				line, err := bufio.NewReader(far).ReadString('\n')
				if err != nil || !strings.HasPrefix(line, "421 4.3.2 ") {
					t.Errorf("it hears %q, %v", line, err)
				}
				far.Close()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
