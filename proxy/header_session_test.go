package proxy_test

import (
	"fmt"
	"net/netip"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

const header = "PROXY TCP4 192.0.2.7 192.0.2.8 56324 25\r\n"

// trusting takes headers from these networks; none: from where the tests are.
func trusting(networks ...string) func(*proxy.Route) {
	if networks == nil {
		networks = []string{"127.0.0.0/8"}
	}
	return func(r *proxy.Route) {
		for _, n := range networks {
			r.ProxyFrom = append(r.ProxyFrom, netip.MustParsePrefix(n))
		}
	}
}

// nameless is a session whose client says EHLO without a name; the rule puts
// its address there.
func nameless(literal string) (server, client []smtptest.Step) {
	server = steps(smtptest.Say(greeting), smtptest.Expect("EHLO "+literal), smtptest.Say("250 mail.example.com"))
	client = steps(smtptest.Expect(greeting), smtptest.Say("EHLO"), smtptest.Expect("250 mail.example.com"))
	return list(server, quitServer), list(client, quitClient)
}

func TestTheClientsAddressIsTheOneInTheHeader(t *testing.T) {
	for said, literal := range map[string]string{
		header: "[192.0.2.7]",
		"PROXY TCP6 2001:db8::7 2001:db8::8 1 25\r\n": "[IPv6:2001:db8::7]",
		"PROXY UNKNOWN\r\n":                           "[127.0.0.1]",
		"PROXY UNKNOWN 192.0.2.7 x\r\n":               "[127.0.0.1]",
	} {
		server, client := nameless(literal)
		rules := compile(t, "fix-hello-name")
		c := play(t, server, list(steps(smtptest.Send(said)), client), func(r *proxy.Route) {
			trusting()(r)
			r.Rules = rules
		})
		wantEnd(t, c, "ok")
	}
}

func TestAHeaderMayComeInPiecesAndWithWhatFollows(t *testing.T) {
	rules := compile(t, "fix-hello-name")
	change := func(r *proxy.Route) { trusting()(r); r.Rules = rules }
	for cut := 1; cut < len(header); cut++ {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			t.Parallel()
			server, client := nameless("[192.0.2.7]")
			c := play(t, server, list(steps(smtptest.Send(header[:cut]), smtptest.Send(header[cut:])), client), change)
			wantEnd(t, c, "ok")
		})
	}
	server, _ := nameless("[192.0.2.7]")
	c := play(t, server, steps(smtptest.Send(header+"EHLO\r\nQUIT\r\n"), smtptest.Expect(greeting, "250 mail.example.com", "221 2.0.0 bye")), change)
	wantEnd(t, c, "ok")
}

func TestAHeaderStandsBeforeTLS(t *testing.T) {
	ours, theirs := testTLS(t)
	server, client := hello()
	c := play(t, list(server, quitServer), list(steps(smtptest.Send(header), smtptest.ClientTLS(theirs)), client, quitClient),
		func(r *proxy.Route) {
			trusting()(r)
			clientLeg(rewrite.ClientTLSImplicit, ours)(r)
		})
	wantEnd(t, c, "ok")
}

func TestFromElsewhereNoHeaderIsLookedFor(t *testing.T) {
	server, client := nameless("[127.0.0.1]")
	rules := compile(t, "fix-hello-name")
	client = list(steps(smtptest.Expect(greeting), smtptest.Send(header), smtptest.Expect(notHere)), client[1:])
	c := play(t, server, client, func(r *proxy.Route) {
		trusting("192.0.2.0/24", "2001:db8::/32")(r)
		r.Rules = rules
	})
	wantEnd(t, c, "ok")
}

func TestASecondHeaderIsACommand(t *testing.T) {
	server, client := hello()
	client = list(steps(smtptest.Send(header)), client, steps(smtptest.Send(header), smtptest.Expect(notHere)), quitClient)
	c := play(t, list(server, quitServer), client, trusting())
	wantEnd(t, c, "ok")
}

func TestAWrongHeaderIsClosedWithoutAWordAndWithoutAServer(t *testing.T) {
	r := &proxy.Route{Observer: newCounts(), Servers: []string{unreachable(t)}}
	trusting()(r)
	_, dial := startProxy(t, r)
	for _, said := range []string{"EHLO x\r\n", "PROXY TCP4 192.0.2.7 192.0.2.8 1 25\n", "PROXY TCP4 192.0.2.7 192.0.2.8 65536 25\r\n", "P"} {
		p := plays(smtptest.Send(said), smtptest.ExpectEnd())
		if said == "P" {
			p = plays(smtptest.Send(said), smtptest.Close())
		}
		act(t, dial, p)
	}
	c := r.Observer.(*counts)
	eventually(t, func() bool { return c.get("refused proxy-header") == 4 })
	wantCount(t, c, "failed connect", 0)
	wantCount(t, c, "began", 0)
}

func TestASilentTrustedPeerKeepsNobodyWaiting(t *testing.T) {
	server, client := hello()
	s := startScripted(t, plays(list(server, quitServer)...))
	r := plainRoute(s)
	trusting()(r)
	p, dial := startProxy(t, r)
	for range 10 {
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	act(t, dial, plays(list(steps(smtptest.Send(header)), client, quitClient)...))
	s.wait(t)
	wantEnd(t, r.Observer.(*counts), "ok")
	p.Close() // nor does it wait for them
}

func TestSessionsAreCountedByTheAddressInTheHeader(t *testing.T) {
	server := startServer(t, legacyServer(t, "modern"))
	r := &proxy.Route{Servers: []string{server.Addr()}, Observer: newCounts(), Limits: proxy.Limits{SessionsPerAddress: 1}}
	trusting()(r)
	_, dial := startProxy(t, r)
	from := func(address, hears string) {
		t.Helper()
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		said := smtptest.Send("PROXY TCP6 " + address + " ::1 1 25\r\n")
		if err := smtptest.Play(conn, patience, said, smtptest.ExpectOctets(hears)); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	from("2001:db8:0:1::1", "220 ")
	from("2001:db8:0:1::2", "421 4.7.0 ") // of the same /64
	from("2001:db8:0:2::1", "220 ")
	from("::ffff:192.0.2.1", "220 ")
	from("::ffff:192.0.2.2", "220 ")
	from("::ffff:192.0.2.1", "421 4.7.0 ")
	wantCount(t, r.Observer.(*counts), "refused sessions-per-address", 2)
	wantCount(t, r.Observer.(*counts), "connected", 4)
}

func TestPeersThatOweAHeaderCountAsSessions(t *testing.T) {
	const all = 3
	r := &proxy.Route{Servers: []string{unreachable(t)}, Observer: newCounts(), Limits: proxy.Limits{Sessions: all}}
	trusting()(r)
	r.Timeouts.Header = patience
	_, dial := startProxy(t, r)
	refused := make(chan error, all+1)
	for range all + 1 {
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		go func() {
			refused <- plays(smtptest.Expect("421 4.7.0 too many sessions, try again later"), smtptest.ExpectEnd())(conn)
		}()
	}
	if err := <-refused; err != nil {
		t.Error(err)
	}
	wantCount(t, r.Observer.(*counts), "refused sessions", 1)
}
