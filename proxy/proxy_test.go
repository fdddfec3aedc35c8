package proxy_test

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	"smtpshim/rewrite/vocabulary"
)

// patience bounds every wait of a test; nothing that is right comes near it.
const patience = time.Minute

var message = smtptest.Message{
	From: "a@example.com",
	To:   []string{"b@example.net", "c@example.net"},
	Body: []byte("Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n\xff 8 bit\r\n"),
}

func legacyServer(t *testing.T, name string) smtptest.Server {
	t.Helper()
	s, ok := smtptest.LookupServer(name)
	if !ok {
		t.Fatalf("no server %q", name)
	}
	return s
}

func legacyClient(t *testing.T, name string) smtptest.Client {
	t.Helper()
	c, ok := smtptest.LookupClient(name)
	if !ok {
		t.Fatalf("no client %q", name)
	}
	c.Timeout = patience
	return c
}

func startServer(t *testing.T, s smtptest.Server) *smtptest.Running {
	t.Helper()
	s.Timeout = patience
	r := s.Start(listen(t))
	t.Cleanup(func() { r.Close() })
	return r
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serveEach serves every connection to a listener, each on a goroutine of its own.
func serveEach(l net.Listener, serve func(net.Conn)) {
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
}

// quiet is a proxy without a log.
func quiet() *proxy.Proxy { return &proxy.Proxy{Logger: slog.New(slog.DiscardHandler)} }

// startProxy serves one route on a free port of loopback.
func startProxy(t *testing.T, r *proxy.Route) (*proxy.Proxy, smtptest.Dial) {
	t.Helper()
	p := quiet()
	if r.Name == "" {
		r.Name = t.Name()
	}
	r.Listen = []string{smtptest.Loopback() + ":0"}
	if err := p.Apply([]*proxy.Route{r}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	address := p.Addr(r.Listen[0]).String()
	return p, func() (net.Conn, error) { return net.Dial("tcp", address) }
}

func compile(t testing.TB, names ...string) *rewrite.Rules {
	t.Helper()
	rules, errs := heal.Compile(names, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	return rules
}

// withMode is one rule with its option mode.
func withMode(t testing.TB, name, mode string) *rewrite.Rules {
	return withOptions(t, name, map[string]any{"mode": mode})
}

// fromLoopback is one rule, for clients on this machine only.
func fromLoopback(t testing.TB, name string) *rewrite.Rules {
	return withOptions(t, name, map[string]any{"clients": []string{"127.0.0.0/8", "::1"}})
}

func withOptions(t testing.TB, name string, options map[string]any) *rewrite.Rules {
	t.Helper()
	rules, errs := heal.Compile([]string{name}, map[string]map[string]any{name: options})
	if errs != nil {
		t.Fatal(errs)
	}
	return rules
}

// testTLS makes a certificate, and what trusts it.
func testTLS(t *testing.T) (forServer, forClient *tls.Config) {
	t.Helper()
	certificate, pool, err := smtptest.Certificate("mail.example.com", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}},
		&tls.Config{RootCAs: pool, ServerName: "mail.example.com"}
}

func wantDelivered(t *testing.T, got smtptest.Result) {
	t.Helper()
	if got.Outcome != smtptest.Delivered || got.Err != nil {
		t.Fatalf("%v, NDR %q, error %v; want delivered\n%s", got.Outcome, got.NDR, got.Err, got.Dialogue)
	}
}

func wantOutcome(t *testing.T, got smtptest.Result, outcome smtptest.Outcome, ndr string) {
	t.Helper()
	if got.Outcome != outcome || got.NDR != ndr {
		t.Fatalf("%v, NDR %q, error %v; want %v, %q\n%s", got.Outcome, got.NDR, got.Err, outcome, ndr, got.Dialogue)
	}
}

func wantMessages(t *testing.T, r *smtptest.Running, n int) {
	t.Helper()
	r.Wait()
	got := r.Messages()
	if len(got) != n {
		t.Fatalf("%d messages at the server, want %d", len(got), n)
	}
	for _, m := range got {
		if m.From != message.From || !slices.Equal(m.To, message.To) || !bytes.Equal(m.Body, message.Body) {
			t.Fatalf("the server has %q, want %q", m, message)
		}
	}
}

// counts is an observer that counts what it hears, by name and value.
type counts struct {
	mu    sync.Mutex
	n     map[string]int
	ended chan string // outcomes of sessions; nil: dropped
}

func newCounts() *counts { return &counts{n: map[string]int{}, ended: make(chan string, 100)} }

func (c *counts) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[what]++
}

func (c *counts) get(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[what]
}

func (c *counts) SessionBegan() { c.add("began") }
func (c *counts) SessionEnded(outcome vocabulary.Outcome, _ time.Duration) {
	c.add("ended " + string(outcome))
	c.ended <- string(outcome)
}
func (c *counts) Refused(reason vocabulary.Rejection) { c.add("refused " + string(reason)) }
func (c *counts) Recognised(product string, by vocabulary.Sign) {
	c.add("product " + product + " by " + string(by))
}
func (c *counts) LimitMet(limit vocabulary.Limit)  { c.add("limit " + string(limit)) }
func (c *counts) ServerAgain()                     { c.add("server again") }
func (c *counts) BadReply(why vocabulary.BadReply) { c.add("bad reply " + string(why)) }
func (c *counts) Held(took time.Duration)          { c.add("held") }
func (c *counts) Command(verb string)              { c.add("command " + verb) }
func (c *counts) Reply(code int)                   { c.add("reply") }
func (c *counts) RuleApplied(rule string)          { c.add("rule " + rule) }
func (c *counts) RuleBroken(rule string)           { c.add("broken " + rule) }
func (c *counts) Message(outcome vocabulary.MessageOutcome, octets int64) {
	c.add("message " + string(outcome))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n["message octets"] += int(octets)
}
func (c *counts) Bytes(side vocabulary.Side, n int64)             {}
func (c *counts) ServerConnected(took time.Duration)              { c.add("connected") }
func (c *counts) ServerReplied(verb string, _ time.Duration)      {}
func (c *counts) ServerFailed(reason vocabulary.ServerFailure)    { c.add("failed " + string(reason)) }
func (c *counts) TLS(side vocabulary.Side, version, suite string) { c.add("tls " + string(side)) }
func (c *counts) TLSFailed(side vocabulary.Side, reason string) {
	c.add("tls failed " + string(side) + " " + reason)
}
func (c *counts) Authenticated(side vocabulary.Side, m vocabulary.Mechanism, outcome vocabulary.AuthOutcome) {
	c.add("auth " + string(side) + " " + string(m) + " " + string(outcome))
}
func (c *counts) Defect() { c.add("defect") }

// outcome waits for the end of the next session.
func (c *counts) outcome(t *testing.T) string {
	t.Helper()
	select {
	case o := <-c.ended:
		return o
	case <-time.After(patience):
		t.Fatal("no session ended")
		return ""
	}
}
