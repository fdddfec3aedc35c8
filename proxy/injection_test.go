package proxy_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

// sendCut sends octets in two writes, the second when the first has been read.
func sendCut(t *testing.T, conn net.Conn, octets string, at int) {
	for i, part := range []string{octets[:at], octets[at:]} {
		if part == "" {
			continue
		}
		if i > 0 {
			eventually(t, func() bool { return queued(t, conn) == 0 })
		}
		if _, err := io.WriteString(conn, part); err != nil {
			return // hung up on already, which is right
		}
	}
}

// queued is how many octets of a connection are on their way or have not been
// read by the other side.
func queued(t *testing.T, conn net.Conn) int {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	here := fmt.Sprintf("0100007F:%04X", conn.LocalAddr().(*net.TCPAddr).Port)
	there := fmt.Sprintf("0100007F:%04X", conn.RemoteAddr().(*net.TCPAddr).Port)
	var sending, unread, other int
	_, ours, _ := strings.Cut(string(table), " "+here+" "+there+" ")
	fmt.Sscanf(ours, "01 %x:%x", &sending, &other)
	_, theirs, _ := strings.Cut(string(table), " "+there+" "+here+" ")
	fmt.Sscanf(theirs, "01 %x:%x", &other, &unread)
	return sending + unread
}

// What stands in clear behind STARTTLS is never a command: wherever the octets
// are cut, the session ends, and the server hears nothing of it (CVE-2011-0411).
func TestClearTextBehindTheClientsSTARTTLSHasNoEffectWhereverItIsCut(t *testing.T) {
	ours, theirs := testTLS(t)
	const start = "STARTTLS\r\n"
	for _, injected := range []string{"NOOP\r\n", "MAIL FROM:<x>\r\n"} {
		for at := 1; at <= len(start+injected); at++ {
			server, client := hello("STARTTLS")
			s := startScripted(t, plays(append(server, smtptest.ExpectEnd())...))
			r := plainRoute(s)
			clientLeg(rewrite.ClientTLSRequire, ours)(r)
			p, dial := startProxy(t, r)
			var heard []byte
			act(t, dial, func(conn net.Conn) error {
				if err := smtptest.Play(conn, patience, client...); err != nil {
					return err
				}
				conn.SetDeadline(time.Now().Add(patience))
				sendCut(t, conn, start+injected, at)
				// A client of good faith would begin TLS now.
				secure := tls.Client(keeping{conn, &heard}, theirs)
				if secure.Handshake() == nil {
					return fmt.Errorf("%q cut at %d: TLS began nevertheless", injected, at)
				}
				io.Copy(io.Discard, keeping{conn, &heard})
				return nil
			})
			s.wait(t)
			c := r.Observer.(*counts)
			switch outcome := c.outcome(t); {
			case outcome == "client-protocol" && strings.HasPrefix(string(heard), "554 5.5.0 "):
			case outcome == "tls" && at == len(start) && strings.HasPrefix(string(heard), readyTLS) && c.get("tls failed client garbage") == 1:
			default:
				t.Errorf("%q cut at %d: ended %s, the client heard %q, counted %v", injected, at, outcome, heard, c.n)
			}
			if c.get("command noop")+c.get("command mail") > 0 || strings.Contains(string(heard), "250") {
				t.Errorf("%q cut at %d: it was obeyed: %q, %v", injected, at, heard, c.n)
			}
			p.Close()
		}
	}
}

// keeping keeps what is read.
type keeping struct {
	net.Conn
	heard *[]byte
}

func (k keeping) Read(b []byte) (int, error) {
	n, err := k.Conn.Read(b)
	*k.heard = append(*k.heard, b[:n]...)
	return n, err
}

// What stands in clear behind the server's 220 answers nothing, wherever the
// octets are cut.
func TestClearTextBehindTheServersAnswerToSTARTTLSHasNoEffectWhereverItIsCut(t *testing.T) {
	ours, theirs := testTLS(t)
	const ready, injected = "220 ready\r\n", "250 injected\r\n"
	for _, mode := range []rewrite.ServerTLS{rewrite.ServerTLSRequire, rewrite.ServerTLSOff} { // off: client and server begin TLS
		for at := 1; at <= len(ready+injected); at++ {
			server, _ := hello("STARTTLS")
			server = append(server, smtptest.Expect("STARTTLS"))
			s := startScripted(t, func(conn net.Conn) error {
				if err := smtptest.Play(conn, patience, server...); err != nil {
					return err
				}
				conn.SetDeadline(time.Now().Add(patience))
				sendCut(t, conn, ready+injected, at)
				if tls.Server(conn, ours).Handshake() == nil {
					return fmt.Errorf("cut at %d: TLS began nevertheless", at)
				}
				return nil
			})
			r := plainRoute(s)
			clientLeg(rewrite.ClientTLSPass, nil)(r)
			serverLeg(mode, theirs)(r)
			p, dial := startProxy(t, r)
			said := []string{"EHLO client.example.com"}
			if mode == rewrite.ServerTLSOff {
				said = append(said, "STARTTLS")
			}
			heard := converse(t, dial, said, mode == rewrite.ServerTLSOff && at == len(ready))
			s.wait(t)
			wantNothingInjected(t, r.Observer.(*counts), heard, at == len(ready), fmt.Sprintf("%s, cut at %d", mode, at))
			p.Close()
		}
	}
}

// wantNothingInjected wants the session to have ended for what stood behind 220.
// alone says that 220 was read before it came.
func wantNothingInjected(t *testing.T, c *counts, heard []string, alone bool, what string) {
	t.Helper()
	ended := c.outcome(t)
	switch last := heard[len(heard)-1]; {
	case ended == "server-protocol" && last == broken && c.get("failed protocol") == 1:
	case alone && ended == "tls" && last == noTLS && c.get("tls failed server garbage") == 1:
	case alone && ended == "opaque": // it is between the two of them then
		return
	default:
		t.Errorf("%s: ended %s, the client heard %q, counted %v", what, ended, heard, c.n)
	}
	if slices.ContainsFunc(heard, func(line string) bool { return strings.Contains(line, "injected") }) {
		t.Errorf("%s: the client heard %q", what, heard)
	}
}

// converse says lines, one when the reply to the one before has come, and gives
// the last line of each reply. leaves: after that the client hangs up.
func converse(t *testing.T, dial smtptest.Dial, lines []string, leaves bool) (heard []string) {
	t.Helper()
	act(t, dial, func(conn net.Conn) error {
		conn.SetDeadline(time.Now().Add(patience))
		var b []byte
		reply := func() error {
			for {
				one := make([]byte, 1)
				if _, err := io.ReadFull(conn, one); err != nil {
					return err
				}
				if b = append(b, one[0]); one[0] != '\n' {
					continue
				}
				line := strings.TrimSuffix(string(b), "\r\n")
				if b = nil; len(line) > 3 && line[3] == ' ' {
					heard = append(heard, line)
					return nil
				}
			}
		}
		if err := reply(); err != nil {
			return err
		}
		for _, line := range lines {
			if _, err := io.WriteString(conn, line+"\r\n"); err != nil {
				return err
			}
			if err := reply(); err != nil {
				return err
			}
		}
		if !leaves {
			io.WriteString(conn, "QUIT\r\n")
			io.Copy(io.Discard, conn)
		}
		return nil
	})
	return heard
}
