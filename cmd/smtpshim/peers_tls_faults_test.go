//go:build linux

package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"smtpshim/proxy/smtptest/real"
)

// A starter is a server that offers STARTTLS, and then does something else than
// it should.
type starter struct {
	addr string

	mu   sync.Mutex
	said []string // all that clients said in clear
}

// startStarter runs a server whose part after 220 is what then does.
func startStarter(t *testing.T, then func(net.Conn)) *starter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &starter{addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn, then)
		}
	}()
	return s
}

func (s *starter) serve(conn net.Conn, then func(net.Conn)) {
	defer conn.Close()
	fmt.Fprint(conn, "220 mail.example.com ESMTP\r\n")
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		s.mu.Lock()
		s.said = append(s.said, lines.Text())
		s.mu.Unlock()
		switch verb, _, _ := strings.Cut(lines.Text(), " "); verb {
		case "EHLO":
			fmt.Fprint(conn, "250-mail.example.com\r\n250 STARTTLS\r\n")
		case "STARTTLS":
			fmt.Fprint(conn, "220 ready\r\n")
			then(conn)
			return
		default:
			fmt.Fprint(conn, "250 ok\r\n")
		}
	}
}

// inClear says whether a client said that in clear.
func (s *starter) inClear(verb string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains("\n"+strings.Join(s.said, "\n"), "\n"+verb)
}

// shows shakes hands with a certificate of an authority's.
func shows(t *testing.T, ca *real.CA, host string, change func(*x509.Certificate)) func(net.Conn) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.LoadX509KeyPair(ca.IssueFor(t, host, key, change))
	if err != nil {
		t.Fatal(err)
	}
	return func(conn net.Conn) {
		secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}})
		if secure.Handshake() == nil {
			swallow(secure)
		}
	}
}

// Whatever goes wrong in the handshake with a server that has to have TLS: the
// client is told to come back, the log says what was seen and what would have
// been right, it is counted, and nothing goes on in clear.
func TestMailWaitsWhereTheServersTLSIsWrong(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	now := time.Now()
	for name, c := range map[string]struct {
		then   func(net.Conn)
		reason string
		logged []string
	}{
		"expired": {shows(t, ca, "127.0.0.1", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.AddDate(0, -2, 0), now.AddDate(0, -1, 0) }),
			"certificate-expired", []string{"certificate was valid until " + now.AddDate(0, -1, 0).UTC().Format("2006-01-02 15:04"), "it is " + now.Format("2006-01-02")}},
		"not yet valid": {shows(t, ca, "127.0.0.1", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.AddDate(0, 1, 0), now.AddDate(0, 2, 0) }),
			"certificate-not-yet-valid", []string{"certificate is valid from " + now.AddDate(0, 1, 0).UTC().Format("2006-01-02 15:04") + " UTC on"}},
		"wrong name": {shows(t, ca, "other.example.com", nil),
			"certificate-name", []string{`certificate is for \"other.example.com\"; expected \"127.0.0.1\"`}},
		"unknown authority": {shows(t, real.NewCA(t), "127.0.0.1", nil),
			"certificate-authority", []string{"which is not among the authorities in", ca.File}},
		"clear text": {func(conn net.Conn) {
			conn.SetDeadline(time.Now().Add(time.Minute)) // of this connection: others may have come long before
			io.ReadFull(conn, make([]byte, 5))            // of the ClientHello
			fmt.Fprint(conn, "554 5.7.1 no TLS today\r\n")
			io.Copy(io.Discard, conn)
		}, "garbage", []string{`answered in clear, \"554 5\", where TLS was due`}},
		"garbage": {func(conn net.Conn) {
			conn.SetDeadline(time.Now().Add(time.Minute)) // of this connection: others may have come long before
			io.ReadFull(conn, make([]byte, 5))
			conn.Write([]byte{0xde, 0xad, 0xbe, 0xef, 0, 1, 2, 3})
			io.Copy(io.Discard, conn)
		}, "garbage", []string{"the server does not speak TLS: it sent"}},
		"silence":  {func(conn net.Conn) { io.Copy(io.Discard, conn) }, "timeout", []string{"the handshake was not over in time"}},
		"hangs up": {func(net.Conn) {}, "closed", []string{"the server hung up during the handshake", "we offered TLS 1.2 to 1.3"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startStarter(t, c.then)
			through := startShim(t, shimOptions{server: server.addr, clientTLS: "hide", serverTLS: "require", ca: ca, routeSays: "timeouts.tls = \"10s\""})
			client := dial(t, through.addr)
			client.send([]byte("EHLO client.example.com\r\n"))
			client.hear("454 4.7.0")
			for _, command := range []string{"MAIL FROM:<sender@example.com>\r\n", "RCPT TO:<recipient@example.com>\r\n", "DATA\r\n"} {
				client.send([]byte(command))
				client.hear("454 4.7.0")
			}
			client.say("QUIT")
			through.logged(t, append(c.logged, "outcome=tls")...)
			through.counted(t, fmt.Sprintf(`smtpshim_tls_failures_total{reason=%q,route="peers",side="server"} 1`, c.reason))
			if server.inClear("MAIL") || server.inClear("RCPT") || server.inClear("DATA") {
				t.Errorf("the server heard in clear %q", server.said)
			}
		})
	}
}

// Opportunistic TLS is never less than without us: where it fails, mail goes on
// in clear over a fresh connection.
func TestMailGoesOnInClearWhereTLSIsOpportunistic(t *testing.T) {
	t.Parallel()
	server := startStarter(t, func(conn net.Conn) {
		io.ReadFull(conn, make([]byte, 5)) // of the ClientHello
		fmt.Fprint(conn, "not TLS at all")
	})
	through := startShim(t, shimOptions{server: server.addr, clientTLS: "hide", serverTLS: "opportunistic"})
	c := dial(t, through.addr)
	c.say("EHLO client.example.com")
	c.say("MAIL FROM:<sender@example.com>")
	c.say("QUIT")
	through.logged(t, "outcome=ok")
	if !server.inClear("MAIL") {
		t.Errorf("the server heard %q", server.said)
	}
}

// A client that begins no TLS after it was told to is told nothing more, and
// nothing of what it says reaches the server.
func TestAClientThatBreaksTheHandshakeIsLogged(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	for name, c := range map[string]struct{ sends, reason, logged string }{
		"clear text": {"MAIL FROM:<sender@example.com>\r\n", "garbage", `goes on in clear, \"MAIL \", where TLS was due`},
		"HTTP":       {"GET / HTTP/1.1\r\n\r\n", "garbage", `goes on in clear, \"GET /\", where TLS was due`},
		"SSL 2.0":    {"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", "version", "sends a ClientHello in the form of SSL 2.0"},
		"silence":    {"", "timeout", "the handshake was not over in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startStarter(t, func(net.Conn) {})
			through := startShim(t, shimOptions{server: server.addr, clientTLS: "offer", ca: ca, routeSays: "timeouts.tls = \"10s\""})
			client := dial(t, through.addr)
			client.say("EHLO client.example.com")
			client.say("STARTTLS")
			client.send([]byte(c.sends))
			if rest, _ := io.ReadAll(client.from); strings.Contains(string(rest), "250") {
				t.Errorf("the client heard %q", rest)
			}
			through.logged(t, c.logged, "outcome=tls")
			through.counted(t, fmt.Sprintf(`smtpshim_tls_failures_total{reason=%q,route="peers",side="client"} 1`, c.reason))
			if server.inClear("MAIL") {
				t.Errorf("the server heard %q", server.said)
			}
		})
	}
}
