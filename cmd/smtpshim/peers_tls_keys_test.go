//go:build linux

package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"smtpshim/proxy/smtptest/real"
)

// A smallHello is a server's TLS that cannot take a hello of more than one segment, as
// one with a key of ML-KEM is (openssl/openssl#27557).
type smallHello struct {
	certificate tls.Certificate
	refuse      func(net.Conn) // what it does then

	mu    sync.Mutex
	large int // such hellos so far
}

// serve takes a hello and goes on, if the hello is small enough, with then.
func (s *smallHello) serve(conn net.Conn, then func(net.Conn)) {
	conn.SetDeadline(time.Now().Add(time.Minute))
	head := make([]byte, 5)
	if _, err := io.ReadFull(conn, head); err != nil {
		return
	}
	if int(head[3])<<8+int(head[4]) > 1400 {
		s.mu.Lock()
		s.large++
		s.mu.Unlock()
		s.refuse(conn)
		return
	}
	secure := tls.Server(&replayed{conn, bytes.NewReader(head)}, &tls.Config{Certificates: []tls.Certificate{s.certificate}})
	if secure.Handshake() == nil {
		then(secure)
	}
}

func (s *smallHello) largeOnes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.large
}

// replayed is a connection of which some octets have been read already.
type replayed struct {
	net.Conn
	first *bytes.Reader
}

func (r *replayed) Read(b []byte) (int, error) {
	if r.first.Len() > 0 {
		return r.first.Read(b)
	}
	return r.Conn.Read(b)
}

func TestAServerThatCannotTakeMLKEMIsAskedAgainWithout(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	certificate, err := tls.LoadX509KeyPair(ca.Issue(t, "127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	hangsUp := func(net.Conn) {}
	resets := func(conn net.Conn) { conn.(*net.TCPConn).SetLinger(0) }
	isSilent := func(conn net.Conn) { io.Copy(io.Discard, conn) }
	alerts := func(conn net.Conn) {
		io.CopyN(io.Discard, conn, 1000)
		conn.Write([]byte{21, 3, 3, 0, 2, 2, 50}) // decode_error
		io.Copy(io.Discard, conn)
	}
	for name, c := range map[string]struct {
		mode, says string
		refuse     func(net.Conn)
		taken      bool
		large      int // hellos in two sessions, and in one that hears no more than the greeting
	}{
		"hangs up":           {"require", "", hangsUp, true, 1},
		"resets":             {"require", "", resets, true, 1},
		"is silent":          {"require", "", isSilent, true, 1},
		"sends an alert":     {"require", "", alerts, true, 1},
		"not verified":       {"require", "verify = false", hangsUp, true, 1},
		"opportunistic":      {"opportunistic", "minimum = \"1.2\"\nciphers = \"modern\"", hangsUp, true, 1},
		"implicit":           {"implicit", "", hangsUp, true, 2},
		"implicit, silent":   {"implicit", "", isSilent, true, 2},
		"classic is written": {"require", `key_exchange = "classic"`, hangsUp, true, 0},
		"hybrid is written":  {"require", `key_exchange = "hybrid"`, hangsUp, false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			small := &smallHello{certificate: certificate, refuse: c.refuse}
			var server *starter
			if c.mode == "implicit" {
				server = startImplicit(t, small)
			} else {
				server = startStarter(t, func(conn net.Conn) { small.serve(conn, answerAll) })
			}
			trusted := ca
			if strings.Contains(c.says, "verify") {
				trusted = nil
			}
			through := startShim(t, shimOptions{server: server.addr, clientTLS: "hide", serverTLS: c.mode, ca: trusted, serverSays: c.says,
				routeSays: "timeouts.tls = \"10s\""})
			for range 2 {
				client := dial(t, through.addr)
				client.send([]byte("EHLO client.example.com\r\n"))
				if !c.taken {
					client.hear("454 4.7.0")
					continue
				}
				client.hear("250")
				client.say("MAIL FROM:<sender@example.com>")
				client.say("QUIT")
			}
			if n := small.largeOnes(); n > c.large || (n == 0) != (c.large == 0) {
				t.Errorf("%d hellos with ML-KEM; want %d", n, c.large)
			}
			if server.inClear("MAIL") {
				t.Errorf("the server heard in clear %q", server.said)
			}
			if c.taken && c.large > 0 {
				through.logged(t, "key_exchange=classic")
			}
			if c.taken && c.large == 1 { // else who found out that we listen may have met it, and heard nothing
				through.logged(t, `key_exchange = \"classic\" leaves it out`)
			}
		})
	}
}

// startImplicit runs a server whose connections begin with TLS.
func startImplicit(t *testing.T, small *smallHello) *starter {
	t.Helper()
	return &starter{addr: serveEach(t, func(conn net.Conn) {
		small.serve(conn, func(secure net.Conn) {
			fmt.Fprint(secure, "220 mail.example.com ESMTP\r\n")
			answerAll(secure)
		})
	})}
}

// A live check says that the server needs the smaller hello.
func TestALiveCheckTellsOfAServerThatCannotTakeMLKEM(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	certificate, err := tls.LoadX509KeyPair(ca.Issue(t, "127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	small := &smallHello{certificate: certificate, refuse: func(net.Conn) {}}
	server := startStarter(t, func(conn net.Conn) { small.serve(conn, answerAll) })
	leg := "[route.client_tls]\nmode = \"hide\"\n[route.server_tls]\nmode = \"require\"\nca = \"" + ca.File + "\"\n"
	status, said := checkedLive(t, []string{server.addr}, leg)
	if status != succeeded {
		t.Errorf("status %d", status)
	}
	wantInOrder(t, said, "~ server again", "TLS 1.3, ", "the handshake fails with ML-KEM")
	status, said = checkedLive(t, []string{server.addr}, leg+"key_exchange = \"hybrid\"")
	if status != failed {
		t.Errorf("status %d", status)
	}
	wantInOrder(t, said, "to a ClientHello without ML-KEM", "FAILED TLS fails", "our ClientHello offered ML-KEM")
}
