package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"testing"
	"time"

	"smtpshim/proxy"
)

// TestWhatIsOpaqueArrivesAsItIsHoweverMuchItIs has both sides send many octets
// at once, some of them small amounts behind large ones.
func TestWhatIsOpaqueArrivesAsItIsHoweverMuchItIs(t *testing.T) {
	l := listen(t)
	octets := make([]byte, 8<<20)
	rand.Read(octets)
	both := func(conn net.Conn, r io.Reader) error {
		sent := make(chan error, 1)
		go func() {
			for rest := octets; len(rest) > 0; {
				n := min(len(rest), 1<<20)
				if _, err := conn.Write(rest[:n-100]); err != nil {
					sent <- err
					return
				}
				if _, err := conn.Write(rest[n-100 : n]); err != nil {
					sent <- err
					return
				}
				rest = rest[n:]
			}
			sent <- conn.(*net.TCPConn).CloseWrite()
		}()
		got, err := io.ReadAll(r)
		if err == nil && !bytes.Equal(got, octets) {
			t.Errorf("%d octets arrived, not as they were; want %d", len(got), len(octets))
		}
		if err := <-sent; err != nil {
			return err
		}
		return err
	}
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		r := bufio.NewReader(conn)
		for _, reply := range []string{"220 mail.example.com ESMTP\r\n", "250-mail.example.com\r\n250 STARTTLS\r\n", "220 go\r\n"} {
			io.WriteString(conn, reply)
			if reply[:3] == "220" && reply[4] == 'g' {
				break
			}
			if _, err := r.ReadString('\n'); err != nil {
				served <- err
				return
			}
		}
		r.Peek(1) // it is the client that goes on
		served <- both(conn, r)
	}()
	_, dial := startProxy(t, &proxy.Route{Servers: []string{l.Addr().String()}})
	conn, replies := greetedClient(t, dial)
	if code := asks(t, conn, replies, "STARTTLS\r\n"); code != "220" {
		t.Fatalf("STARTTLS got %s", code)
	}
	if err := both(conn, replies); err != nil {
		t.Error("client:", err)
	}
	if err := <-served; err != nil {
		t.Error("server:", err)
	}
}
