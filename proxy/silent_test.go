package proxy_test

import (
	"net"
	"strings"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

// A balancer's check connects, and hangs up by a FIN or a RST, before or behind the
// greeting. It is counted, and the log at info has no line of it.
func TestAPlainCheckIsASilentSession(t *testing.T) {
	ours, _ := testTLS(t)
	for name, check := range map[string]struct {
		client part
		route  func(*proxy.Route)
	}{
		"FIN at once":                     {plays(), nil},
		"RST at once":                     {thenReset(plays()), nil},
		"FIN behind the greeting":         {plays(smtptest.Expect(greeting)), nil},
		"RST behind the greeting":         {thenReset(plays(smtptest.Expect(greeting))), nil},
		"FIN where TLS is due":            {plays(), clientLeg(rewrite.ClientTLSImplicit, ours)},
		"RST where TLS is due":            {thenReset(plays()), clientLeg(rewrite.ClientTLSImplicit, ours)},
		"FIN where a PROXY header is due": {plays(), trusting()},
		"RST where a PROXY header is due": {thenReset(plays()), trusting()},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			serveEach(l, func(c net.Conn) {
				defer c.Close()
				c.Write([]byte(greeting + "\r\n"))
				readLine(c)
			})
			r := &proxy.Route{Servers: []string{l.Addr().String()}, Observer: newCounts()}
			if check.route != nil {
				check.route(r)
			}
			_, dial := startProxy(t, r)
			act(t, dial, check.client)
			c := r.Observer.(*counts)
			wantEnd(t, c, "silent")
			c.mu.Lock()
			defer c.mu.Unlock()
			for what := range c.n {
				if strings.HasPrefix(what, "refused ") || strings.HasPrefix(what, "tls") {
					t.Errorf("it is counted as %q", what)
				}
			}
		})
	}
}

func TestAClientThatHangsUpBehindACommandIsNotSilent(t *testing.T) {
	server, client := hello()
	for _, end := range []func(part) part{func(p part) part { return p }, thenReset} {
		s := startScripted(t, plays(server...))
		r := plainRoute(s)
		_, dial := startProxy(t, r)
		act(t, dial, end(plays(client...)))
		wantEnd(t, r.Observer.(*counts), "client-lost")
	}
}
