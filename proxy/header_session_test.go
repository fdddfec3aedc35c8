package proxy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/header"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// The same header in both versions, one that has no addresses for a server that
// knows of none, and what each begins with.
const (
	headerV1      = "PROXY TCP4 192.0.2.7 192.0.2.8 56324 25\r\n"
	headerV2      = header.Signature + "\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x08\xdc\x04\x00\x19"
	headerUnknown = "PROXY UNKNOWN\r\n"
	headerLocal   = header.Signature + "\x20\x00\x00\x00"
)

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

// mendsEveryName compiles rules of which one acts on every name that is not valid,
// whatever the server says: EHLO without a name gets the client's address.
func mendsEveryName(t *testing.T, names ...string) *rewrite.Rules {
	t.Helper()
	rules, errs := heal.Compile(names, map[string]map[string]any{"fix-hello-name": {"when": "always"}})
	if errs != nil {
		t.Fatal(errs)
	}
	return rules
}

func TestTheClientsAddressIsTheOneInTheHeader(t *testing.T) {
	for said, literal := range map[string]string{
		headerV1: "[192.0.2.7]",
		headerV2: "[192.0.2.7]",
		headerV2[:15] + "\x0f" + headerV2[16:] + "\x04\x00\x00": "[192.0.2.7]",
		headerLocal: "[127.0.0.1]",
		"PROXY TCP6 2001:db8::7 2001:db8::8 1 25\r\n": "[IPv6:2001:db8::7]",
		"PROXY UNKNOWN\r\n":                           "[127.0.0.1]",
		"PROXY UNKNOWN 192.0.2.7 x\r\n":               "[127.0.0.1]",
	} {
		server, client := nameless(literal)
		rules := mendsEveryName(t, "fix-hello-name")
		c := play(t, server, list(steps(smtptest.Send(said)), client), func(r *proxy.Route) {
			trusting()(r)
			r.Rules = rules
		})
		wantEnd(t, c, "ok")
	}
}

func TestAHeaderMayComeInPiecesAndWithWhatFollows(t *testing.T) {
	rules := mendsEveryName(t, "fix-hello-name")
	change := func(r *proxy.Route) { trusting()(r); r.Rules = rules }
	for _, said := range []string{headerV1, headerV2} {
		for cut := 1; cut < len(said); cut++ {
			t.Run(fmt.Sprint(len(said), cut), func(t *testing.T) {
				t.Parallel()
				server, client := nameless("[192.0.2.7]")
				c := play(t, server, list(steps(smtptest.Send(said[:cut]), smtptest.Send(said[cut:])), client), change)
				wantEnd(t, c, "ok")
			})
		}
		server, _ := nameless("[192.0.2.7]")
		c := play(t, server, steps(smtptest.Send(headerV1+"EHLO\r\nQUIT\r\n"), smtptest.Expect(greeting, "250 mail.example.com", "221 2.0.0 bye")), change)
		wantEnd(t, c, "ok")
	}
}

func TestAHeaderStandsBeforeTLS(t *testing.T) {
	ours, theirs := testTLS(t)
	for _, said := range []string{headerV1, headerV2} {
		server, client := hello()
		c := play(t, list(server, quitServer), list(steps(smtptest.Send(said), smtptest.ClientTLS(theirs)), client, quitClient),
			func(r *proxy.Route) {
				trusting()(r)
				clientLeg(rewrite.ClientTLSImplicit, ours)(r)
			})
		wantEnd(t, c, "ok")
	}
}

func TestFromElsewhereNoHeaderIsLookedFor(t *testing.T) {
	server, client := nameless("[127.0.0.1]")
	rules := mendsEveryName(t, "fix-hello-name")
	client = list(steps(smtptest.Expect(greeting), smtptest.Send(headerV1), smtptest.Expect(notHere)), client[1:])
	c := play(t, server, client, func(r *proxy.Route) {
		trusting("192.0.2.0/24", "2001:db8::/32")(r)
		r.Rules = rules
	})
	wantEnd(t, c, "ok")
}

const notTaken = "421 4.7.0 no PROXY header is taken from here"

// The server sees nothing of a header of version 2 that comes in one piece. In
// pieces its lines are commands that are none, until it is whole.
func TestFromElsewhereAHeaderOfVersion2IsRefused(t *testing.T) {
	const wrong = "500 5.5.2 a command ends with CRLF and has no bare CR, bare LF or NUL in it"
	say := smtptest.Say(greeting)
	empty := steps(smtptest.Expect(""), smtptest.Say("500 5.5.2 what?"))
	heard := steps(smtptest.Say(""), smtptest.Expect("500 5.5.2 what?"))
	for what, peers := range map[string][2][]smtptest.Step{
		"whole":               {steps(say), steps(smtptest.Expect(greeting), smtptest.Send(headerV2))},
		"before the greeting": {steps(say), steps(smtptest.Send(headerV2), smtptest.Expect(greeting))},
		"its signature":       {steps(say), steps(smtptest.Expect(greeting), smtptest.Send(header.Signature))},
		"line by line": {list(steps(say), empty, empty),
			list(steps(smtptest.Expect(greeting)), heard, heard, steps(smtptest.Send("\x00\r\n"), smtptest.Expect(wrong), smtptest.Send(headerV2[7:])))},
		"behind one that is taken": {steps(say), steps(smtptest.Send(headerV1), smtptest.Expect(greeting), smtptest.Send(headerV2))},
	} {
		c := play(t, list(peers[0], steps(smtptest.ExpectEnd())), list(peers[1], steps(smtptest.Expect(notTaken), smtptest.ExpectEnd())), func(r *proxy.Route) {
			trusting("192.0.2.0/24")(r)
			if what == "behind one that is taken" {
				trusting()(r)
			}
		})
		wantEnd(t, c, "client-protocol")
		wantCount(t, c, "refused proxy-header", 1)
	}
}

func TestLinesThatOnlyBeginLikeAHeaderAreCommands(t *testing.T) {
	server, client := hello()
	lines := steps(smtptest.Expect(greeting), smtptest.Say(""), smtptest.Expect("500 5.5.2 what?"), smtptest.Say("EHLO client.example.com"))
	c := play(t, list(steps(smtptest.Say(greeting), smtptest.Expect(""), smtptest.Say("500 5.5.2 what?")), server[1:], quitServer),
		list(lines, client[2:], quitClient), nil)
	wantEnd(t, c, "ok")
}

func TestASecondHeaderIsACommand(t *testing.T) {
	server, client := hello()
	client = list(steps(smtptest.Send(headerV1)), client, steps(smtptest.Send(headerV1), smtptest.Expect(notHere)), quitClient)
	c := play(t, list(server, quitServer), client, trusting())
	wantEnd(t, c, "ok")
}

func TestAWrongHeaderIsClosedWithoutAWordAndWithoutAServer(t *testing.T) {
	r := &proxy.Route{Observer: newCounts(), Servers: []string{unreachable(t)}}
	trusting()(r)
	_, dial := startProxy(t, r)
	for _, said := range []string{"EHLO x\r\n", "PROXY TCP4 192.0.2.7 192.0.2.8 1 25\n", "PROXY TCP4 192.0.2.7 192.0.2.8 65536 25\r\n", headerV2[:12] + "\x21\x12" + headerV2[14:], "\r\nEHLO x\r\n", "P"} {
		p := plays(smtptest.Send(said), smtptest.ExpectEnd())
		if said == "P" {
			p = plays(smtptest.Send(said), smtptest.Close())
		}
		act(t, dial, p)
	}
	c := r.Observer.(*counts)
	eventually(t, func() bool { return c.get("refused proxy-header") == 6 })
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
	act(t, dial, plays(list(steps(smtptest.Send(headerV1)), client, quitClient)...))
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

// sending begins connections to the server with a header.
func sending(v header.Version) func(*proxy.Route) {
	return func(r *proxy.Route) { r.ProxySend = v; trusting()(r) }
}

func TestTheServerIsToldWhoTheClientIs(t *testing.T) {
	for said, told := range map[string][2]string{
		headerV1:    {headerV1, headerV2},
		headerV2:    {headerV1, headerV2},
		headerLocal: {headerUnknown, headerLocal},
		"PROXY UNKNOWN 192.0.2.7 192.0.2.8 1 2\r\n": {headerUnknown, headerLocal},
	} {
		for i, v := range []header.Version{header.V1, header.V2} {
			server, client := hello()
			c := play(t, list(steps(smtptest.ExpectOctets(told[i])), server, quitServer), list(steps(smtptest.Send(said)), client, quitClient), sending(v))
			wantEnd(t, c, "ok")
		}
	}
}

func TestAClientWithoutABalancerIsWhereItsConnectionBegins(t *testing.T) {
	told := make(chan string, 1)
	server, client := hello()
	s := startScripted(t, func(c net.Conn) error {
		line, err := readLine(c)
		told <- line
		if err != nil {
			return err
		}
		return plays(list(server, quitServer)...)(c)
	})
	r := plainRoute(s)
	r.ProxySend = header.V1
	_, dial := startProxy(t, r)
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := plays(list(client, quitClient)...)(conn); err != nil {
		t.Error(err)
	}
	from, to := conn.LocalAddr().(*net.TCPAddr), conn.RemoteAddr().(*net.TCPAddr)
	if want := fmt.Sprintf("PROXY TCP4 %v %v %d %d\r\n", from.IP, to.IP, from.Port, to.Port); <-told != want {
		t.Errorf("the server was not told %q", want)
	}
	s.wait(t)
}

// readLine reads no octet behind the line.
func readLine(c net.Conn) (string, error) {
	c.SetReadDeadline(time.Now().Add(patience))
	var line []byte
	for b := make([]byte, 1); !bytes.HasSuffix(line, []byte("\n")); line = append(line, b...) {
		if _, err := c.Read(b); err != nil {
			return string(line), err
		}
	}
	return string(line), nil
}

func TestTheServerIsToldBeforeTLS(t *testing.T) {
	ours, theirs := testTLS(t)
	server, client := hello()
	s := startScripted(t, func(c net.Conn) error {
		if line, err := readLine(c); line != headerV1 {
			return fmt.Errorf("%q came first: %w", line, err)
		}
		return plays(list(steps(smtptest.ServerTLS(ours)), server, quitServer)...)(c)
	})
	r := plainRoute(s)
	sending(header.V1)(r)
	serverLeg(rewrite.ServerTLSImplicit, theirs)(r)
	_, dial := startProxy(t, r)
	act(t, dial, plays(list(steps(smtptest.Send(headerV2)), client, quitClient)...))
	s.wait(t)
	wantEnd(t, r.Observer.(*counts), "ok")
}

func TestTheServerIsToldOnEveryConnection(t *testing.T) {
	told := smtptest.ExpectOctets(headerV2)
	rules := compile(t, "fall-back-to-helo")
	s := startScripted(t,
		plays(told, smtptest.Say(greeting), smtptest.Expect("EHLO client.example.com"), smtptest.Close()),
		plays(list(steps(told, smtptest.Say(greeting), smtptest.Expect("EHLO client.example.com"), smtptest.Say("250 mail.example.com")), quitServer)...))
	r := plainRoute(s)
	sending(header.V2)(r)
	r.Rules = rules
	_, dial := startProxy(t, r)
	act(t, dial, plays(list(steps(smtptest.Send(headerV1), smtptest.Expect(greeting), smtptest.Say("EHLO client.example.com"),
		smtptest.Expect("250 mail.example.com")), quitClient)...))
	s.wait(t)
	wantEnd(t, r.Observer.(*counts), "ok")
}

func TestTheLogNamesClientAndBalancer(t *testing.T) {
	for said, want := range map[string][2]string{headerV1: {"192.0.2.7", "127.0.0.1"}, "": {"127.0.0.1", ""}} {
		server, client := hello()
		var line struct{ Client, Proxy, Outcome string }
		logOf(t, &line, list(server, quitServer), list(steps(smtptest.Send(said)), client, quitClient), said != "")
		if line.Outcome != "ok" || [2]string{line.Client, line.Proxy} != want {
			t.Errorf("%q was logged as %+v", said, line)
		}
	}
}

// A balancer asks every few seconds.
func TestAHealthCheckThatIsAnsweredIsNotLogged(t *testing.T) {
	for _, said := range []string{headerUnknown, headerLocal, "PROXY TCP4 127.0.0.1 192.0.2.8 1 25\r\n"} {
		server, client := hello()
		if log := logOf(t, nil, list(server, quitServer), list(steps(smtptest.Send(said)), client, quitClient), true); log != "" {
			t.Errorf("%q was logged: %s", said, log)
		}
	}
}

// A server that waits for a PROXY header has none of a client that may not send one.
func TestTheLogNamesTheKeyForAPROXYHeaderThatTheServerWaitsFor(t *testing.T) {
	heard := make(chan struct{})
	for said, named := range map[string]bool{headerV1: true, headerV2: true, "PROX": true, "EHLO client.example.com\r\n": false} {
		var line struct{ Err string }
		logOf(t, &line, steps(smtptest.Pause(func() { <-heard }), smtptest.Close()),
			steps(smtptest.Send(said), smtptest.Pause(func() { heard <- struct{}{} }), smtptest.Expect("421 4.3.2 server not available"), smtptest.ExpectEnd()), false)
		if got := strings.Contains(line.Err, "proxy_protocol.accept_from"); got != named {
			t.Errorf("%q was logged as %q", said, line.Err)
		}
	}
}

// logOf plays one session, and gives its line in the log, if any.
func logOf(t *testing.T, line any, server, client []smtptest.Step, trusted bool) string {
	t.Helper()
	s := startScripted(t, plays(server...))
	r := plainRoute(s)
	if trusted {
		trusting()(r)
	}
	var log bytes.Buffer
	p, dial := logged(t, r, &log)
	act(t, dial, plays(client...))
	s.wait(t)
	r.Observer.(*counts).outcome(t)
	p.Close() // which waits for the log
	if line != nil {
		if err := json.Unmarshal(log.Bytes(), line); err != nil {
			t.Fatalf("%q is not one line: %v", &log, err)
		}
	}
	return log.String()
}
