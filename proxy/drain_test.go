package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

const leave = "421 4.3.2 the service is being shut down"

// drained begins to drain, and gives what Drain will give.
func drained(p *proxy.Proxy, ctx context.Context) chan error {
	done := make(chan error, 1)
	go func() { done <- p.Drain(ctx) }()
	return done
}

func wantDrained(t *testing.T, done chan error, want error) {
	t.Helper()
	select {
	case err := <-done:
		if !errors.Is(err, want) {
			t.Errorf("drained with %v, want %v", err, want)
		}
	case <-time.After(patience):
		t.Fatal("not drained")
	}
}

func TestDrainingAsksIdleClientsToLeave(t *testing.T) {
	for _, n := range []int{0, 1, len(exchanges)} { // greeted, behind EHLO, behind a message
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			server, client := through(n)
			s := startScripted(t, plays(append(server, smtptest.ExpectEnd())...))
			r := plainRoute(s)
			p, dial := startProxy(t, r)
			var done chan error
			act(t, dial, plays(append(client, smtptest.Pause(func() { done = drained(p, t.Context()) }),
				smtptest.Expect(leave), smtptest.ExpectEnd())...))
			s.wait(t)
			wantDrained(t, done, nil)
			wantEnd(t, r.Observer.(*counts), "drained")
		})
	}
}

// A request to leave may come at any moment, also just before a wait.
func TestDrainingReachesEverySession(t *testing.T) {
	for range 20 {
		server := startServer(t, legacyServer(t, "modern"))
		r := &proxy.Route{Servers: []string{server.Addr()}, Observer: newCounts(), Limits: proxy.Limits{Idle: 1 << 30}}
		p, dial := startProxy(t, r)
		const clients = 5
		done := make(chan error, clients)
		for range clients {
			conn := admitted(t, dial)
			go func() {
				conn.SetDeadline(time.Now().Add(patience))
				for {
					if _, err := io.WriteString(conn, "NOOP\r\n"); err != nil {
						break
					}
					line := make([]byte, 512)
					n, err := conn.Read(line)
					if err != nil || strings.Contains(string(line[:n]), "421 4.3.2") {
						break
					}
				}
				done <- conn.Close()
			}()
		}
		wantDrained(t, drained(p, t.Context()), nil)
		for range clients {
			<-done
		}
		wantCount(t, r.Observer.(*counts), "ended drained", clients)
	}
}

func TestDrainingLetsATransactionEnd(t *testing.T) {
	for n := 2; n < len(exchanges); n++ {
		t.Run("before "+phase(n), func(t *testing.T) {
			t.Parallel()
			server, client := through(n)
			p := (*proxy.Proxy)(nil)
			var done chan error
			client = append(client, smtptest.Pause(func() { done = drained(p, t.Context()) }))
			for _, e := range exchanges[n:] {
				said := strings.Split(e[0], "\r\n")
				server = append(server, smtptest.Expect(said...), smtptest.Say(e[1]))
				client = append(client, smtptest.Say(said...), smtptest.Expect(e[1]))
			}
			s := startScripted(t, plays(append(server, smtptest.ExpectEnd())...))
			r := plainRoute(s)
			var dial smtptest.Dial
			p, dial = startProxy(t, r)
			act(t, dial, plays(append(client, smtptest.Expect(leave), smtptest.ExpectEnd())...))
			s.wait(t)
			wantDrained(t, done, nil)
			wantEnd(t, r.Observer.(*counts), "drained")
			wantCount(t, r.Observer.(*counts), "message accepted", 1)
		})
	}
}

func TestWhatIsNotDrainedInTimeIsClosedWithoutADot(t *testing.T) {
	server, client := through(endOfData)
	var got []byte
	s := startScripted(t, func(c net.Conn) error {
		if err := smtptest.Play(c, patience, server...); err != nil {
			return err
		}
		got, _ = io.ReadAll(c)
		return nil
	})
	r := plainRoute(s)
	p, dial := startProxy(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	var done chan error
	act(t, dial, plays(append(client, smtptest.Send("text\r\n.\r"), smtptest.Pause(func() {
		done = drained(p, ctx)
		cancel()
	}), smtptest.ExpectEnd())...))
	wantDrained(t, done, context.Canceled)
	s.wait(t)
	if strings.HasSuffix(string(got), ".\r\n") {
		t.Errorf("the server got %q", got)
	}
}

func TestNobodyIsServedWhileDraining(t *testing.T) {
	server, client := through(2) // in a transaction
	s := startScripted(t, plays(append(server, smtptest.ExpectEnd())...))
	r := plainRoute(s)
	p, dial := startProxy(t, r)
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	if err := plays(client...)(conn); err != nil {
		t.Fatal(err)
	}
	done := drained(p, t.Context())
	eventually(t, func() bool { return p.Addr(r.Listen[0]) == nil })
	if late, err := dial(); err == nil {
		late.Close()
		t.Error("it still listens")
	}
	conn.Close()
	wantDrained(t, done, nil)
	s.wait(t)
}

// What Close has to end, wherever a session is.
func TestCloseEndsEverythingAtOnceAndLeavesNothing(t *testing.T) {
	ours, theirs := testTLS(t)
	stall := make(chan struct{})
	defer close(stall)
	stalls := smtptest.Pause(func() { <-stall })
	greet, _ := through(0)
	helloed, clientHelloed := hello("STARTTLS")
	inMessage, clientInMessage := through(endOfData)
	behindDot, clientBehindDot := asked(endOfData)
	opaque, clientOpaque := says("STARTTLS", "220 go")
	for name, test := range map[string]struct {
		server, client []smtptest.Step
		change         func(*proxy.Route)
	}{
		"waiting for the greeting":          {steps(stalls), nil, nil},
		"idle":                              {append(greet, stalls), steps(smtptest.Expect(greeting)), nil},
		"in a message":                      {append(inMessage, stalls), append(clientInMessage, smtptest.Say("text")), nil},
		"behind the dot":                    {append(behindDot, stalls), clientBehindDot, nil},
		"opaque":                            {list(helloed, opaque, steps(stalls)), list(clientHelloed, clientOpaque), nil},
		"in the client's handshake":         {steps(stalls), nil, clientLeg(rewrite.ClientTLSImplicit, ours)},
		"in the server's handshake":         {steps(stalls), nil, serverLeg(rewrite.ServerTLSImplicit, theirs)},
		"in a later handshake":              {append(helloed, smtptest.Expect("STARTTLS"), smtptest.Say("220 go"), stalls), steps(smtptest.Expect(greeting), smtptest.Say("EHLO client.example.com")), serverLeg(rewrite.ServerTLSRequire, theirs)},
		"waiting for a header":              {nil, steps(smtptest.Send("PROXY ")), trusting()},
		"under TLS, and nobody reads it":    {list(steps(smtptest.ServerTLS(ours)), inMessage, steps(stalls)), append(clientInMessage, smtptest.Send(strings.Repeat("x", 8<<20))), serverLeg(rewrite.ServerTLSImplicit, theirs)},
		"in a message, and nobody reads it": {append(inMessage, stalls), append(clientInMessage, smtptest.Send(strings.Repeat("x", 8<<20))), nil},
	} {
		t.Run(name, func(t *testing.T) {
			before := descriptors(t)
			listener := listen(t)
			begun := make(chan net.Conn, 1)
			go func() {
				conn, err := listener.Accept()
				if err == nil {
					begun <- conn
					smtptest.Play(conn, patience, test.server...)
				}
			}()
			r := &proxy.Route{Name: "test", Listen: []string{"127.0.0.1:0"}, Servers: []string{listener.Addr().String()}}
			if test.change != nil {
				test.change(r)
			}
			p := quiet()
			if err := p.Apply([]*proxy.Route{r}); err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", p.Addr(r.Listen[0]).String())
			if err != nil {
				t.Fatal(err)
			}
			played := make(chan error, 1)
			go func() { played <- smtptest.Play(conn, patience, test.client...) }()
			if !strings.Contains(name, "nobody reads") {
				if err := <-played; err != nil {
					t.Error(err)
				}
			}
			eventually(t, func() bool { return sessions() > 1 }) // one of them listens
			began := time.Now()
			p.Close()
			if took := time.Since(began); took > patience/2 {
				t.Errorf("closed after %v", took)
			}
			eventually(t, func() bool { return sessions() == 0 })
			conn.Close()
			listener.Close()
			select {
			case server := <-begun:
				server.Close()
			default:
			}
			eventually(t, func() bool { return descriptors(t) <= before })
		})
	}
}

func TestApplyAgainKeepsAddsAndRemovesListeners(t *testing.T) {
	stays, goes, comes := "127.0.0.1:0", smtptest.Loopback()+":0", "127.0.0.3:0"
	var servers []string
	for _, host := range []string{"one.example.com", "two.example.com"} {
		row := legacyServer(t, "modern")
		row.Host = host
		servers = append(servers, startServer(t, row).Addr())
	}
	one, two := servers[0], servers[1]
	p := quiet()
	defer p.Close()
	apply := func(server string, listen ...string) error {
		return p.Apply([]*proxy.Route{{Name: "test", Listen: listen, Servers: []string{server}}})
	}
	if err := apply(one, stays, goes); err != nil {
		t.Fatal(err)
	}
	address, gone := p.Addr(stays).String(), p.Addr(goes).String()
	running := greetedBy(t, address, "one.example.com")

	for _, bad := range [][]*proxy.Route{
		{{Name: "a", Listen: []string{comes, one}, Servers: []string{two}}},                                                          // taken
		{{Name: "a", Listen: []string{stays}, Servers: []string{two}}, {Name: "b", Listen: []string{stays}, Servers: []string{two}}}, // twice
		{{Name: "a", Listen: []string{"192.0.2.1:0"}, Servers: []string{two}}},                                                       // not ours
	} {
		if err := p.Apply(bad); err == nil {
			t.Error("applied")
		}
		if p.Addr(comes) != nil || p.Addr(stays).String() != address || p.Addr(goes).String() != gone {
			t.Error("a failed Apply has changed the listeners")
		}
	}
	greetedBy(t, gone, "one.example.com")

	if err := apply(two, stays, comes); err != nil {
		t.Fatal(err)
	}
	if p.Addr(stays).String() != address || p.Addr(goes) != nil {
		t.Error("the listeners are not those that were wanted")
	}
	if conn, err := net.Dial("tcp", gone); err == nil {
		conn.Close()
		t.Error("a listener that was taken away still listens")
	}
	greetedBy(t, address, "two.example.com")
	greetedBy(t, p.Addr(comes).String(), "two.example.com")
	act(t, func() (net.Conn, error) { return running, nil }, plays(smtptest.Say("HELO client.example.com"), // under its old route
		smtptest.ExpectOctets("250 one.example.com")))
}

// greetedBy is a client that this host has greeted.
func greetedBy(t *testing.T, address, host string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	line := make([]byte, 512)
	conn.SetReadDeadline(time.Now().Add(patience))
	n, err := conn.Read(line)
	if err != nil || !strings.HasPrefix(string(line[:n]), "220 "+host) {
		t.Fatalf("greeted with %q, %v; want %s", line[:n], err, host)
	}
	return conn
}
