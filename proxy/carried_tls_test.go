package proxy_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/smtp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"smtpshim/proxy"
)

// TestTLSFromTheFirstOctetIsCarried has a client and a server begin with TLS, as on port
// 465, where neither leg ends here. The server is asked once whether it does so.
func TestTLSFromTheFirstOctetIsCarried(t *testing.T) {
	for _, early := range []proxy.EarlyCommands{proxy.EarlyHeld, proxy.EarlyShown} {
		for _, rules := range [][]string{nil, defaultRules} {
			ours, theirs := testTLS(t)
			p := &peculiar{}
			l := listen(t)
			var connections atomic.Int32
			serveEach(l, func(conn net.Conn) {
				connections.Add(1)
				p.serve(tls.Server(conn, ours))
			})
			counted := newCounts()
			_, dial := startProxy(t, &proxy.Route{Servers: []string{l.Addr().String()}, Rules: compile(t, rules...), Observer: counted, EarlyCommands: early})
			for range 2 {
				conn, err := dial()
				if err != nil {
					t.Fatal(err)
				}
				conn.SetDeadline(time.Now().Add(patience))
				c, err := smtp.NewClient(tls.Client(conn, theirs), "mail.example.com")
				if err != nil {
					t.Fatalf("early_commands %v, %v: %v", early, rules, err)
				}
				deliverBy(t, c)
				conn.Close()
				wantEnd(t, counted, "opaque")
			}
			p.mu.Lock()
			if len(p.messages) != 2 {
				t.Errorf("early_commands %v, %v: the server has %q", early, rules, p.messages)
			}
			p.mu.Unlock()
			if n := connections.Load(); n != 3 {
				t.Errorf("early_commands %v, %v: %d connections for two sessions and one question", early, rules, n)
			}
		}
	}
}

// TestNothingThatLooksLikeTLSReachesAServerInClear has a server that is slow to greet, and
// a client that begins as TLS does and goes on with commands. The server greets once it
// has been asked whether it begins with TLS.
func TestNothingThatLooksLikeTLSReachesAServerInClear(t *testing.T) {
	l := listen(t)
	asked, early := make(chan struct{}), make(chan string, 1)
	var connections atomic.Int32
	serveEach(l, func(conn net.Conn) {
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		r := bufio.NewReader(conn)
		if connections.Add(1) > 1 {
			r.Peek(1)
			io.WriteString(conn, "220 mail.example.com ESMTP\r\n")
			close(asked)
			return
		}
		<-asked
		io.WriteString(conn, "220 mail.example.com ESMTP\r\n")
		heard, _ := r.ReadString('\n')
		early <- heard
		io.WriteString(conn, "221 bye\r\n")
	})
	counted := newCounts()
	_, dial := startProxy(t, &proxy.Route{Servers: []string{l.Addr().String()}, Rules: compile(t, defaultRules...), Observer: counted})
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, "\x16\x03\x01\x00\x20\r\n")
	io.WriteString(conn, "XCLIENT ADDR=192.0.2.1\r\nQUIT\r\n")
	got, _ := io.ReadAll(conn)
	if want := "220 mail.example.com ESMTP\r\n500 "; !strings.HasPrefix(string(got), want) {
		t.Errorf("the client is told %q, not %q and so on", got, want)
	}
	if heard := <-early; heard != "QUIT\r\n" {
		t.Errorf("the server hears %q first", heard)
	}
	if outcome := counted.outcome(t); outcome == "opaque" {
		t.Error("the session was opaque")
	}
}
