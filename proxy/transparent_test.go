package proxy_test

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
)

// How these things work with a firewall and several machines is seen in
// cmd/smtpshim, in network namespaces. Here is what one machine can show.

func needRights(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root may have transparent sockets")
	}
}

// dialledFrom is the address that a server sees of a session that began at
// 127.0.0.7.
func dialledFrom(t *testing.T, source proxy.Source, server func(*scripted) string) string {
	t.Helper()
	seen := make(chan string, 1)
	s := startScripted(t, func(c net.Conn) error {
		host, _, err := net.SplitHostPort(c.RemoteAddr().String())
		seen <- host
		if err != nil {
			return err
		}
		return smtptest.Play(c, patience, list(steps(smtptest.Say(greeting)), quitServer)...)
	})
	p := quiet()
	defer p.Close()
	const at = "127.0.0.1:0"
	if err := p.Apply([]*proxy.Route{{Name: "in", Listen: []string{at}, Servers: []string{server(s)}, Source: source}}); err != nil {
		t.Fatal(err)
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 7)}}
	act(t, func() (net.Conn, error) { return dialer.Dial("tcp", p.Addr(at).String()) },
		plays(list(steps(smtptest.Expect(greeting)), quitClient)...))
	s.wait(t)
	return <-seen
}

// byAddress and byName are how a server may stand in a route.
func byAddress(s *scripted) string { return s.addr }

func byName(s *scripted) string {
	_, port, _ := net.SplitHostPort(s.addr)
	return net.JoinHostPort("localhost", port)
}

func TestAServerIsDialledFromTheAddressThatTheRouteWants(t *testing.T) {
	fixed := proxy.Source{Address: netip.MustParseAddr("127.0.0.9")}
	for want, source := range map[string]proxy.Source{"127.0.0.1": {}, "127.0.0.9": fixed} {
		for _, server := range []func(*scripted) string{byAddress, byName} {
			if got := dialledFrom(t, source, server); got != want {
				t.Errorf("dialled from %s, want %s", got, want)
			}
		}
	}
}

func TestAServerIsDialledFromTheClientsAddress(t *testing.T) {
	needRights(t)
	for _, server := range []func(*scripted) string{byAddress, byName} {
		if got := dialledFrom(t, proxy.Source{Client: true}, server); got != "127.0.0.7" {
			t.Errorf("dialled from %s, want the client's 127.0.0.7", got)
		}
	}
}

func TestAServerOfTheOtherFamilyIsNotDialledFromElsewhere(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here")
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, server := range []string{l.Addr().String(), "localhost:" + port} {
		c := newCounts()
		_, dial := startProxy(t, &proxy.Route{Servers: []string{server}, Observer: c, Source: proxy.Source{Address: netip.MustParseAddr("127.0.0.9")}})
		act(t, dial, plays(smtptest.Expect("421 4.3.2 server not available"), smtptest.ExpectEnd()))
		wantEnd(t, c, "server-unreachable")
		wantCount(t, c, "failed connect", 1)
	}
}

func TestAnAddressThatIsNotOursIsRefusedAtStart(t *testing.T) {
	p := quiet()
	defer p.Close()
	err := p.Apply([]*proxy.Route{{Name: "in", Listen: []string{"127.0.0.1:0"}, Servers: []string{"127.0.0.1:25"},
		Source: proxy.Source{Address: netip.MustParseAddr("192.0.2.200")}}})
	if err == nil {
		t.Error("accepted")
	}
}

const astray = "421 4.3.5 no server can be reached this way"

func TestAClientThatWasNotRedirectedGoesNowhere(t *testing.T) {
	for name, transparent := range map[string]bool{"REDIRECT": false, "TPROXY": true} {
		t.Run(name, func(t *testing.T) {
			if transparent {
				needRights(t)
			}
			c, p := newCounts(), quiet()
			defer p.Close()
			const everywhere = "0.0.0.0:0"
			err := p.Apply([]*proxy.Route{{Name: "in", Listen: []string{everywhere}, Servers: []string{proxy.OriginalDestination}, Transparent: transparent,
				Destinations: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, Observer: c}})
			if err != nil {
				t.Skip("this system knows no original destinations: ", err)
			}
			_, port, _ := net.SplitHostPort(p.Addr(everywhere).String())
			act(t, func() (net.Conn, error) { return net.Dial("tcp", "127.0.0.8:"+port) }, plays(smtptest.Expect(astray), smtptest.ExpectEnd()))
			eventually(t, func() bool { return c.get("refused destination") == 1 })
			wantCount(t, c, "began", 0)
		})
	}
}

func TestAListenerBecomesTransparentWithoutBeingClosed(t *testing.T) {
	needRights(t)
	c, server := newCounts(), simpleServer(t)
	r := &proxy.Route{Servers: []string{server}, Observer: c}
	p, dial := startProxy(t, r)
	before := p.Addr(r.Listen[0]).String()
	changed := *r
	changed.Servers, changed.Transparent = []string{proxy.OriginalDestination}, true
	if err := p.Apply([]*proxy.Route{&changed}); err != nil {
		t.Fatal(err)
	}
	if after := p.Addr(r.Listen[0]).String(); after != before {
		t.Errorf("listens on %s, and before on %s", after, before)
	}
	act(t, dial, plays(smtptest.Expect(astray), smtptest.ExpectEnd()))
	if err := p.Apply([]*proxy.Route{r}); err != nil {
		t.Fatal(err)
	}
	act(t, dial, plays(list(steps(smtptest.Expect(greeting)), steps(smtptest.Say("QUIT"), smtptest.Expect("221 bye"), smtptest.ExpectEnd()))...))
}

// handed is a socket as a service manager hands it over.
func handed(t *testing.T, listen string) (address string, file *os.File) {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if file, err = l.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return l.Addr().String(), file
}

func TestSocketsThatWereHandedOverAreServedAndOutliveReloads(t *testing.T) {
	one, first := handed(t, "127.0.0.1:0")
	two, second := handed(t, "127.0.0.2:0")
	p := quiet()
	p.Inherited = map[string][]*os.File{"systemd:smtp": {first, second}}
	defer p.Close()
	server := simpleServer(t)
	with := &proxy.Route{Name: "in", Listen: []string{"systemd:smtp"}, Servers: []string{server}}
	without := &proxy.Route{Name: "in", Listen: []string{"127.0.0.1:0"}, Servers: []string{server}}
	for range 3 {
		if err := p.Apply([]*proxy.Route{with}); err != nil {
			t.Fatal(err)
		}
		for _, address := range []string{one, two} {
			act(t, func() (net.Conn, error) { return net.Dial("tcp", address) },
				plays(smtptest.Expect(greeting), smtptest.Say("QUIT"), smtptest.Expect("221 bye"), smtptest.ExpectEnd()))
		}
		if err := p.Apply([]*proxy.Route{without}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatWasHandedOverAndDoesNotListenIsRefused(t *testing.T) {
	packets, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	datagram, err := packets.File()
	if err != nil {
		t.Fatal(err)
	}
	defer datagram.Close()
	regular, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	for _, file := range []*os.File{datagram, regular} {
		p := quiet()
		p.Inherited = map[string][]*os.File{"systemd:smtp": {file}}
		if err := p.Apply([]*proxy.Route{{Name: "in", Listen: []string{"systemd:smtp"}, Servers: []string{"127.0.0.1:25"}}}); err == nil {
			t.Errorf("%s: accepted", file.Name())
		}
		p.Close()
	}
}
