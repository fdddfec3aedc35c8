package proxy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

// The same peers that fail alone in package smtptest, with the proxy between.

// route is one with the standard rules before a legacy server.
func route(t *testing.T, r *smtptest.Running) *proxy.Route {
	return &proxy.Route{Servers: []string{r.Addr()}, Rules: compile(t, "standard"), Observer: newCounts()}
}

func wantRule(t *testing.T, r *proxy.Route, rule string) {
	t.Helper()
	if r.Observer.(*counts).get("rule "+rule) == 0 {
		t.Errorf("%s did not act", rule)
	}
}

func TestQ164060AClientThatLooksForESMTPFindsIt(t *testing.T) {
	server := startServer(t, legacyServer(t, "exchange-5.0"))
	route := route(t, server)
	_, dial := startProxy(t, route)
	r := legacyClient(t, "needs-esmtp").Deliver(dial, message)
	wantDelivered(t, r)
	if said := r.Dialogue.Said("C"); !strings.HasPrefix(said[0], "EHLO ") || !strings.Contains(said[1], " SIZE=") {
		t.Errorf("the client said %q", said)
	}
	wantMessages(t, server, 1)
	wantRule(t, route, "advertise-esmtp")
}

func TestQ164060EHLOIsAnsweredWhereTheServerDoesNotKnowIt(t *testing.T) {
	for _, hangsUp := range []bool{false, true} {
		s := legacyServer(t, "sendmail-8.6")
		if s.HangsUp = hangsUp; hangsUp { // one that greets with the word ESMTP is not said HELO
			s.Greeting = []smtptest.Text{{Line: "220 {host} Sendmail 8.6.9 ready", Evidence: "assumed: without the word ESMTP"}}
		}
		server := startServer(t, s)
		route := route(t, server)
		_, dial := startProxy(t, route)
		c := legacyClient(t, "needs-esmtp")
		if hangsUp {
			c = legacyClient(t, "modern") // which says EHLO whatever the greeting
		}
		r := c.Deliver(dial, message)
		wantDelivered(t, r)
		if said := r.Dialogue.Said("C"); !strings.HasPrefix(said[0], "EHLO ") || strings.HasPrefix(said[1], "HELO") {
			t.Errorf("the client said %q", said)
		}
		wantMessages(t, server, 1)
		wantRule(t, route, "fall-back-to-helo")
	}
}

func TestQ195201Exchange50LogsInToExchange55(t *testing.T) {
	server := startServer(t, legacyServer(t, "exchange-5.5").WithAuth(smtptest.AuthInitial, smtptest.AuthPrompted))
	route := route(t, server)
	_, dial := startProxy(t, route)
	r := legacyClient(t, "exchange-5.0").Deliver(dial, message)
	wantDelivered(t, r)
	if !slices.ContainsFunc(r.Dialogue.Said("S"), func(l string) bool { return strings.HasPrefix(l, "235 ") }) {
		t.Errorf("no 235 in\n%s", r.Dialogue)
	}
	wantMessages(t, server, 1)
	wantRule(t, route, "translate-xauth")
}

func TestQ195201EverySpellingOfXAUTHIsUnderstoodBothWays(t *testing.T) {
	for _, form := range smtptest.XauthForms() {
		t.Run("client says "+form, func(t *testing.T) {
			server := startServer(t, legacyServer(t, "modern").WithAuth(smtptest.AuthInitial, smtptest.AuthPrompted))
			_, dial := startProxy(t, route(t, server))
			wantDelivered(t, legacyClient(t, "exchange-5.0").WithAuth(form).Deliver(dial, message))
			wantMessages(t, server, 1)
		})
		for _, spelling := range smtptest.XauthSpellings() {
			t.Run("server knows "+form+" and offers "+strings.Join(spelling, " and "), func(t *testing.T) {
				server := startServer(t, legacyServer(t, "exchange-5.0").WithXauth(spelling...).WithAuth(form))
				_, dial := startProxy(t, route(t, server))
				client := legacyClient(t, "exchange-5.5").WithAuth(smtptest.AuthInitial)
				r := client.Deliver(dial, message)
				wantDelivered(t, r)
				wantMessages(t, server, 1)
			})
		}
	}
}

func TestQ195201AWrongPasswordIsRefusedAsTheServerRefusesIt(t *testing.T) {
	server := startServer(t, legacyServer(t, "exchange-5.5").WithAuth(smtptest.AuthInitial))
	_, dial := startProxy(t, route(t, server))
	client := legacyClient(t, "exchange-5.0")
	client.Password = "wrong"
	r := client.Deliver(dial, message)
	if r.Outcome == smtptest.Delivered {
		t.Fatalf("delivered\n%s", r.Dialogue)
	}
	wantMessages(t, server, 0)
}

func TestQ195201ASealedStreamPassesUnread(t *testing.T) {
	s := legacyServer(t, "exchange-5.5").WithAuth(smtptest.AuthInitial)
	s.Seals = true
	server := startServer(t, s)
	route := route(t, server)
	_, dial := startProxy(t, route)
	client := legacyClient(t, "exchange-5.5").WithAuth(smtptest.AuthInitial)
	client.Seal = true
	wantDelivered(t, client.Deliver(dial, message))
	wantMessages(t, server, 1)
	if o := route.Observer.(*counts).outcome(t); o != "opaque" {
		t.Errorf("the session ended %s", o)
	}
}

func TestQ279214TheFirstMessagePasses(t *testing.T) {
	for _, name := range []string{"iis-4", "iis-5"} {
		for _, again := range []bool{false, true} {
			for _, forgets := range []smtptest.Forgets{smtptest.ForgetsFirst, smtptest.ForgetsUnresumed, smtptest.ForgetsUntilEhlo} {
				s := legacyServer(t, name)
				s.Forgets = forgets
				ours, theirs := testTLS(t)
				s.TLS = ours
				server := startServer(t, s)
				route := route(t, server)
				route.ClientTLS = proxy.ClientTLS{Mode: rewrite.ClientTLSOffer, Acceptor: proxy.AcceptWith(ours)}
				route.ServerTLS = proxy.ServerTLS{Mode: rewrite.ServerTLSRequire, Dialer: proxy.DialWith(theirs)}
				_, dial := startProxy(t, route)
				c := legacyClient(t, "exchange-5.5")
				c.TLS, c.EhloAfterTLS = theirs, again
				wantDelivered(t, c.Deliver(dial, message))
				wantMessages(t, server, 1)
				if forgets != smtptest.ForgetsUntilEhlo {
					wantRule(t, route, "retry-starttls")
				}
				if !again {
					wantRule(t, route, "repeat-ehlo")
				}
			}
		}
	}
}

func TestQ279214AServerThatAlwaysForgetsDoesNotMakeMailBounce(t *testing.T) {
	s := legacyServer(t, "iis-4")
	s.Forgets = smtptest.ForgetsAlways
	ours, theirs := testTLS(t)
	s.TLS = ours
	server := startServer(t, s)
	route := route(t, server)
	route.ClientTLS = proxy.ClientTLS{Mode: rewrite.ClientTLSOffer, Acceptor: proxy.AcceptWith(ours)}
	route.ServerTLS = proxy.ServerTLS{Mode: rewrite.ServerTLSRequire, Dialer: proxy.DialWith(theirs)}
	_, dial := startProxy(t, route)
	c := legacyClient(t, "exchange-5.5")
	c.TLS = theirs
	wantOutcome(t, c.Deliver(dial, message), smtptest.Queued, "")
	wantMessages(t, server, 0)
}

func TestKB912341ASlow354IsDeliveredOnce(t *testing.T) {
	for _, firstLine := range []smtptest.FirstLine{smtptest.FirstLineAlone, smtptest.FirstLineAlways} {
		server := startServer(t, legacyServer(t, "modern").SlowData(50*time.Millisecond))
		route := route(t, server)
		_, dial := startProxy(t, route)
		c := legacyClient(t, "windows-2003")
		c.FirstLine = firstLine
		results := c.DeliverUntilDone(dial, message, 3)
		wantDelivered(t, results[0])
		wantMessages(t, server, 1)
		wantRule(t, route, "join-data-reply")
	}
}

func TestQ240832ATrailingDotDoesNotStopMail(t *testing.T) {
	for _, name := range []string{"iis-4", "iis-5", "mcis-2"} {
		server := startServer(t, legacyServer(t, name))
		route := route(t, server)
		_, dial := startProxy(t, route)
		r := legacyClient(t, "notes").Deliver(dial, message)
		wantDelivered(t, r)
		wantMessages(t, server, 1)
		wantRule(t, route, "fix-hello-name")
	}
}
