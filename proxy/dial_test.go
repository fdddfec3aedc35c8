package proxy

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"smtpshim/proxy/smtptest"
)

// greeter is a server that greets with its name, on a socket that is its own.
func greeter(t *testing.T, network, address, name string) (listener net.Listener) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprintf(conn, "220 %s\r\n", name)
				for lines := bufio.NewScanner(conn); lines.Scan() && lines.Text() != "QUIT"; {
					fmt.Fprint(conn, "250 ok\r\n")
				}
				fmt.Fprint(conn, "221 bye\r\n")
			}()
		}
	}()
	return l
}

// apply serves a route over sockets.
func apply(t *testing.T, r *Route) *Proxy {
	t.Helper()
	r.Name = "in"
	p := &Proxy{Logger: slog.New(slog.DiscardHandler)}
	t.Cleanup(func() { p.Close() })
	if err := p.Apply([]*Route{r}); err != nil {
		t.Fatal(err)
	}
	return p
}

// wantGreeting has a client come by, and be greeted so.
func wantGreeting(t *testing.T, at net.Addr, greeting string) {
	t.Helper()
	conn, err := net.Dial(at.Network(), at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	play := []smtptest.Step{smtptest.Expect(greeting)}
	if strings.HasPrefix(greeting, "2") {
		play = append(play, smtptest.Say("NOOP"), smtptest.Expect("250 ok"), smtptest.Say("QUIT"), smtptest.Expect("221 bye"))
	}
	if err := smtptest.Play(conn, 20*time.Second, append(play, smtptest.ExpectEnd())...); err != nil {
		t.Error(err)
	}
}

func TestAServerOverTCPIsLeftAloneAndTriedAgain(t *testing.T) {
	a, b := greeter(t, "tcp", "127.0.0.1:0", "a"), greeter(t, "tcp", "127.0.0.1:0", "b")
	r := &Route{Listen: []string{"127.0.0.1:0"}, Servers: []string{a.Addr().String(), b.Addr().String()}}
	p := apply(t, r)
	at := p.Addr("127.0.0.1:0")
	wantGreeting(t, at, "220 a")
	a.Close()
	wantGreeting(t, at, "220 b")
	greeter(t, "tcp", a.Addr().String(), "a")
	wantGreeting(t, at, "220 b")
	if err := p.Apply([]*Route{r}); err != nil {
		t.Fatal(err)
	}
	wantGreeting(t, at, "220 b") // still, behind a reload
	if s := p.Servers(); s[0].Up || !s[1].Up {
		t.Errorf("%+v", s)
	}
	p.fleets["in"].Checked(p.routes[0].standings[0], nil) // a check finds that it greets
	wantGreeting(t, at, "220 a")
	wantGreeting(t, at, "220 a")
}

// resolve has every name resolve to the addresses that are in the value now.
func resolve(t *testing.T, addresses *atomic.Value) {
	t.Helper()
	dns, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for packet := make([]byte, 512); ; {
			n, from, err := dns.ReadFrom(packet)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(packet[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if m.Questions[0].Type == dnsmessage.TypeA {
				for _, a := range addresses.Load().([]string) {
					m.Answers = append(m.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
						Body:   &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
					})
				}
			}
			if answer, err := m.Pack(); err == nil {
				dns.WriteTo(answer, from)
			}
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", dns.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		dns.Close()
	})
}

func TestANameIsLookedUpEachTimeAndAllOfItsAddressesAreTried(t *testing.T) {
	a := greeter(t, "tcp", "127.0.0.2:0", "a")
	_, port, _ := net.SplitHostPort(a.Addr().String())
	greeter(t, "tcp", "127.0.0.3:"+port, "b")
	var addresses atomic.Value
	addresses.Store([]string{"127.0.0.2"})
	resolve(t, &addresses)
	p := apply(t, &Route{Listen: []string{"127.0.0.1:0"}, Servers: []string{"mail.example.com.:" + port}})
	at := p.Addr("127.0.0.1:0")
	wantGreeting(t, at, "220 a")
	addresses.Store([]string{"127.0.0.3"})
	wantGreeting(t, at, "220 b")
	addresses.Store([]string{"127.0.0.4", "127.0.0.5", "127.0.0.2"}) // nobody is at the first two
	wantGreeting(t, at, "220 a")
	addresses.Store([]string{"127.0.0.4", "127.0.0.5"})
	wantGreeting(t, at, unavailable)
	addresses.Store([]string{"127.0.0.3"})
	wantGreeting(t, at, "220 b")
}
