package proxy_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/header"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

// believing takes XCLIENT from where the tests are, and sends none.
func believing(r *proxy.Route) {
	r.XCLIENTFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("192.0.2.0/24")}
}

// xclientTaken is the answer to an XCLIENT that is obeyed.
func xclientTaken() string { return "220 " + hostname() + " ESMTP" }

func TestWhatXCLIENTMakesUsSayIsNamedSo(t *testing.T) {
	const offer = "XCLIENT NAME ADDR"
	server := steps(smtptest.Say(greeting), smtptest.Expect("EHLO a.example.com"), smtptest.Say("250-mail.example.com", "250 "+offer),
		smtptest.Expect("XCLIENT NAME=[UNAVAILABLE] ADDR=127.0.0.1"), smtptest.Say(greeting),
		smtptest.Expect("EHLO a.example.com"), smtptest.Say("250-mail.example.com", "250 "+offer))
	client := steps(smtptest.Expect(greeting), smtptest.Say("EHLO a.example.com"), smtptest.Expect("250 mail.example.com"))
	rec := recorded(t, list(server, quitServer), list(client, quitClient), func(r *proxy.Route) { r.XCLIENTSend = rewrite.XCLIENTRequired })
	var named []string
	for line := range strings.Lines(rec.text.String()) {
		if _, line, _ = strings.Cut(line, " side="); strings.HasSuffix(line, " rule=xclient\n") {
			named = append(named, strings.TrimSuffix(line, " rule=xclient\n"))
		}
	}
	if want := []string{"S- line=250-mail.example.com", `S- line="250 ` + offer + `"`, `C+ line="XCLIENT NAME=[UNAVAILABLE] ADDR=127.0.0.1"`,
		`S- line="` + greeting + `"`, `C+ line="EHLO a.example.com"`}; !slices.Equal(named, want) {
		t.Errorf("named are %q, want %q", named, want)
	}
}

func TestXCLIENTTellsWhereTheClientConnectedTo(t *testing.T) {
	told := make(chan string, 1)
	s := startScripted(t, func(c net.Conn) error {
		if err := plays(smtptest.Say(greeting), smtptest.Expect("EHLO a.example.com"), smtptest.Say("250-mail.example.com", "250 XCLIENT ADDR DESTADDR DESTPORT"))(c); err != nil {
			return err
		}
		line, err := readLine(c)
		told <- line
		return err
	})
	r := plainRoute(s)
	r.XCLIENTSend = rewrite.XCLIENTOffered
	_, dial := startProxy(t, r)
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := plays(smtptest.Expect(greeting), smtptest.Say("EHLO a.example.com"))(conn); err != nil {
		t.Fatal(err)
	}
	to := conn.RemoteAddr().(*net.TCPAddr)
	if got, want := <-told, fmt.Sprintf("XCLIENT ADDR=127.0.0.1 DESTADDR=%v DESTPORT=%d\r\n", to.IP, to.Port); got != want {
		t.Errorf("the server was told %q, want %q", got, want)
	}
	s.wait(t)
}

func TestTheOfferOfXCLIENTIsNamedSo(t *testing.T) {
	server, client := through(0)
	server = append(server, smtptest.Expect("EHLO a.example.com"), smtptest.Say("250-mail.example.com", "250 XCLIENT ADDR"))
	client = append(client, smtptest.Say("EHLO a.example.com"),
		smtptest.Expect("250-mail.example.com", "250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"))
	rec := recorded(t, list(server, quitServer), list(client, quitClient), believing)
	want := []string{"S- 250 XCLIENT ADDR not-carried", "S+ 250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT xclient"}
	if got := rec.changedLines(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestALogLineHasTheClientThatXCLIENTNamesAndWhoNamedIt(t *testing.T) {
	for named, logged := range map[string]string{"IPV6:2001:db8::9": "2001:db8::9", "[UNAVAILABLE]": "unknown"} {
		server, client := through(0)
		client = append(client, smtptest.Say("XCLIENT ADDR="+named), smtptest.Expect(xclientTaken()))
		rec := recorded(t, list(server, quitServer), list(client, quitClient), believing)
		if log := rec.text.String(); !strings.Contains(log, " client="+logged+" ") || !strings.Contains(log, " xclient=127.0.0.1") {
			t.Error(log)
		}
	}
}

// Where the server is told by PROXY, each client gets a connection of its own,
// and the greeting of that is the answer to XCLIENT.
func TestAPROXYHeaderTellsOfTheClientThatXCLIENTNames(t *testing.T) {
	first := list(steps(smtptest.ExpectOctets("PROXY TCP4 192.0.2.7 192.0.2.8 56324 25\r\n"), smtptest.Say(greeting), smtptest.ExpectEnd()))
	second := list(steps(smtptest.ExpectOctets("PROXY TCP4 192.0.2.9 192.0.2.8 40000 25\r\n"), smtptest.Say("220 mail.example.com again")), quitServer)
	s := startScripted(t, plays(first...), plays(second...))
	r := plainRoute(s)
	believing(r)
	sending(header.V1)(r)
	_, dial := startProxy(t, r)
	act(t, dial, plays(list(steps(smtptest.Send(headerV1), smtptest.Expect(greeting),
		smtptest.Say("XCLIENT ADDR=192.0.2.9 PORT=40000"), smtptest.Expect("220 mail.example.com again")), quitClient)...))
	s.wait(t)
	wantEnd(t, r.Observer.(*counts), "ok")
}

func TestALostServerAnswersXCLIENTWith421(t *testing.T) {
	s := startScripted(t, plays(smtptest.ExpectOctets(headerV1), smtptest.Say(greeting), smtptest.ExpectEnd()), plays(smtptest.Close()))
	r := plainRoute(s)
	believing(r)
	sending(header.V1)(r)
	_, dial := startProxy(t, r)
	act(t, dial, plays(smtptest.Send(headerV1), smtptest.Expect(greeting),
		smtptest.Say("XCLIENT ADDR=192.0.2.9"), smtptest.Expect("421 4.3.2 server not available"), smtptest.ExpectEnd()))
	s.wait(t)
	wantEnd(t, r.Observer.(*counts), "server-unreachable")
}

// To tell the server of a client without an address would have it judge by ours.
func TestAClientThatXCLIENTGivesNoAddressIsNotToldByPROXY(t *testing.T) {
	s := startScripted(t, plays(smtptest.ExpectOctets(headerV1), smtptest.Say(greeting), smtptest.ExpectEnd()))
	r := plainRoute(s)
	believing(r)
	sending(header.V1)(r)
	_, dial := startProxy(t, r)
	act(t, dial, plays(smtptest.Send(headerV1), smtptest.Expect(greeting),
		smtptest.Say("XCLIENT ADDR=[UNAVAILABLE]"), smtptest.Expect("421 4.3.2 server not available"), smtptest.ExpectEnd()))
	s.wait(t)
	wantEnd(t, r.Observer.(*counts), "server-unreachable")
}

// A balancer that does not know its client speaks for it, and not for itself.
func TestAClientThatItsBalancerDoesNotKnowMayNotSayXCLIENT(t *testing.T) {
	for _, unknown := range []string{headerUnknown, headerLocal} {
		server, client := through(0)
		client = list(steps(smtptest.Send(unknown)), client, steps(smtptest.Say("XCLIENT ADDR=192.0.2.1"), smtptest.Expect(notHere)), quitClient)
		play(t, list(server, quitServer), client, func(r *proxy.Route) { believing(r); trusting()(r) })
	}
}

// Who says XCLIENT has room for as many sessions as there are clients, and each
// of these for as many as its own connections would be.
func TestASessionCountsForTheClientThatXCLIENTNames(t *testing.T) {
	server := startServer(t, legacyServer(t, "modern"))
	r := &proxy.Route{Servers: []string{server.Addr()}, Observer: newCounts(), Limits: proxy.Limits{SessionsPerAddress: 1}}
	believing(r)
	_, dial := startProxy(t, r)
	c := r.Observer.(*counts)
	claims := func(reply ...smtptest.Step) net.Conn {
		t.Helper()
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := plays(list(steps(smtptest.Expect(greeting), smtptest.Say("XCLIENT ADDR=192.0.2.1")), reply)...)(conn); err != nil {
			t.Error(err)
		}
		return conn
	}
	first := claims(smtptest.Expect(xclientTaken()))
	claims(smtptest.Expect("421 4.7.0 too many sessions, try again later"), smtptest.ExpectEnd())
	wantEnd(t, c, "client-protocol")
	wantCount(t, c, "refused sessions-per-address", 1)
	first.Close()
	wantEnd(t, c, "client-lost")
	claims(smtptest.Expect(xclientTaken()))
}

// XCLIENT from elsewhere is refused and counted, and so is a session whose
// server does not take ours.
func TestXCLIENTIsCounted(t *testing.T) {
	server, client := through(0)
	client = append(client, smtptest.Say("XCLIENT ADDR=192.0.2.1"), smtptest.Expect(notHere))
	c := play(t, list(server, quitServer), list(client, quitClient), nil)
	wantCount(t, c, "command xclient", 1)

	server, client = through(0)
	server = append(server, smtptest.Expect("EHLO a.example.com"), smtptest.Say("250 mail.example.com"), smtptest.ExpectEnd())
	client = append(client, smtptest.Say("EHLO a.example.com"), smtptest.Expect("421 4.3.5 the server does not offer XCLIENT"), smtptest.ExpectEnd())
	c = play(t, server, client, func(r *proxy.Route) { r.XCLIENTSend = rewrite.XCLIENTRequired })
	wantEnd(t, c, "xclient")
}
