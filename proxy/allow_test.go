package proxy_test

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

// serving serves clients from these networks alone.
func serving(networks ...string) func(*proxy.Route) {
	return func(r *proxy.Route) {
		for _, n := range networks {
			r.Clients = append(r.Clients, netip.MustParsePrefix(n))
		}
	}
}

// notServed is all that a client hears that is not on the list.
func notServed() []smtptest.Step {
	return steps(smtptest.Expect(rewrite.NotServedText), smtptest.ExpectEnd())
}

func TestAClientOnTheListIsServed(t *testing.T) {
	server, client := hello()
	c := play(t, list(server, quitServer), list(client, quitClient), serving("192.0.2.0/28", "127.0.0.0/8"))
	wantEnd(t, c, "ok")
	wantCount(t, c, "refused clients", 0)
}

func TestAClientThatIsNotOnTheListHears554AndReachesNoServer(t *testing.T) {
	r := &proxy.Route{Observer: newCounts(), Servers: []string{unreachable(t)}}
	serving("192.0.2.0/24", "2001:db8::/32")(r)
	_, dial := startProxy(t, r)
	for range 3 {
		act(t, dial, plays(notServed()...))
	}
	c := r.Observer.(*counts)
	eventually(t, func() bool { return c.get("refused clients") == 3 })
	wantCount(t, c, "began", 0)
	wantCount(t, c, "failed connect", 0)
}

// Nothing is said in clear to a client that waits for TLS.
func TestAClientThatIsRefusedWhereTLSIsDueHearsNothing(t *testing.T) {
	ours, _ := testTLS(t)
	r := &proxy.Route{Observer: newCounts(), Servers: []string{unreachable(t)}}
	serving("192.0.2.0/24")(r)
	clientLeg(rewrite.ClientTLSImplicit, ours)(r)
	_, dial := startProxy(t, r)
	act(t, dial, plays(smtptest.ExpectEnd()))
	c := r.Observer.(*counts)
	eventually(t, func() bool { return c.get("refused clients") == 1 })
}

// Otherwise strangers could take the places of clients.
func TestAClientThatIsNotOnTheListTakesNoPlace(t *testing.T) {
	server, client := hello()
	s := startScripted(t, plays(list(server, quitServer)...))
	r := plainRoute(s)
	r.Limits = proxy.Limits{Sessions: 1, SessionsPerAddress: 1, SessionsPerMinute: 1}
	serving("192.0.2.0/28")(r)
	trusting()(r)
	_, dial := startProxy(t, r)
	for range 3 {
		act(t, dial, plays(list(steps(smtptest.Send("PROXY TCP4 192.0.2.201 192.0.2.8 56324 25\r\n")), notServed())...))
	}
	act(t, dial, plays(list(steps(smtptest.Send(headerV1)), client, quitClient)...))
	s.wait(t)
	wantEnd(t, r.Observer.(*counts), "ok")
}

func TestTheListIsAboutTheClientInThePROXYHeader(t *testing.T) {
	server, client := hello()
	for _, said := range []string{headerV1, headerV2, headerLocal, headerUnknown} { // the last two have no client: a balancer's check
		c := play(t, list(server, quitServer), list(steps(smtptest.Send(said)), client, quitClient), func(r *proxy.Route) {
			trusting()(r)
			serving("192.0.2.0/28")(r)
		})
		wantEnd(t, c, "ok")
	}
	r := &proxy.Route{Observer: newCounts(), Servers: []string{unreachable(t)}}
	trusting()(r)
	serving("127.0.0.0/8")(r) // the balancer alone
	_, dial := startProxy(t, r)
	act(t, dial, plays(list(steps(smtptest.Send(headerV1)), notServed())...))
	eventually(t, func() bool { return r.Observer.(*counts).get("refused clients") == 1 })
}

func TestTheListIsAboutTheClientThatXCLIENTNames(t *testing.T) {
	for named, reply := range map[string]string{
		"192.0.2.9":     xclientTaken(),
		"192.0.2.209":   rewrite.NotServedText,
		"[UNAVAILABLE]": rewrite.NotServedText,
	} {
		server, client := through(0)
		client = append(client, smtptest.Say("XCLIENT ADDR="+named), smtptest.Expect(reply))
		if reply == rewrite.NotServedText {
			server, client = append(server, smtptest.ExpectEnd()), append(client, smtptest.ExpectEnd())
		} else {
			server, client = list(server, quitServer), list(client, quitClient)
		}
		c := play(t, server, client, func(r *proxy.Route) {
			believing(r)
			serving("192.0.2.0/28")(r)
		})
		if reply == rewrite.NotServedText {
			wantEnd(t, c, "client-protocol")
			wantCount(t, c, "refused clients", 1)
		} else {
			wantEnd(t, c, "ok")
		}
	}
}

func TestANewListHoldsForNewSessions(t *testing.T) {
	server, client := hello()
	s := startScripted(t, plays(list(server, quitServer)...))
	r := plainRoute(s)
	p, dial := startProxy(t, r)
	act(t, dial, func(conn net.Conn) error {
		if err := plays(client...)(conn); err != nil {
			return err
		}
		changed := *r
		serving("192.0.2.0/28")(&changed)
		if err := p.Apply([]*proxy.Route{&changed}); err != nil {
			return err
		}
		act(t, dial, plays(notServed()...))
		return plays(quitClient...)(conn)
	})
	s.wait(t)
	wantEnd(t, r.Observer.(*counts), "ok")
}

// The configuration says so, and a port that all the world can reach is knocked at often.
func TestTheLogDoesNotWarnOfClientsThatAreNotOnTheList(t *testing.T) {
	var log strings.Builder
	p := &proxy.Proxy{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	t.Cleanup(func() { p.Close() })
	r := &proxy.Route{Name: "in", Listen: []string{"127.0.0.1:0"}, Servers: []string{unreachable(t)}}
	serving("192.0.2.0/28")(r)
	if err := p.Apply([]*proxy.Route{r}); err != nil {
		t.Fatal(err)
	}
	act(t, func() (net.Conn, error) { return net.Dial("tcp", p.Addr("127.0.0.1:0").String()) }, plays(notServed()...))
	p.Close()
	if got := log.String(); !strings.Contains(got, "level=INFO") || !strings.Contains(got, "reason=clients") || strings.Contains(got, "level=WARN") {
		t.Error(got)
	}
}
