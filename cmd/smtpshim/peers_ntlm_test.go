//go:build linux

package main

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// curl knows AUTH, Exim knows AUTH, and between them there is a stretch where
// only XAUTH is understood, as with Exchange 5.0 (KB Q195201). One smtpshim
// makes XAUTH of AUTH, the other AUTH of XAUTH.
func TestNTLMPassesAStretchThatKnowsOnlyXAUTH(t *testing.T) {
	t.Parallel()
	for password, reply := range map[string]string{"right": "< 235 ", "wrong": "< 535 "} {
		t.Run(password, func(t *testing.T) {
			to := real.Exim(t, real.Options{Users: map[string]string{"user": "right"}})
			near := startShim(t, shimOptions{server: to.Addr, rules: []string{"translate-xauth"}})
			only := hideAUTH(t, near.addr)
			far := startShim(t, shimOptions{server: only.addr, rules: []string{"translate-xauth"}})

			out, status := real.Curl(t, far.addr, "Subject: ntlm\n\nhello\n",
				"--login-options", "AUTH=NTLM", "--user", "user:"+password)
			if (status == 0) != (password == "right") || !strings.Contains(out, reply) {
				t.Errorf("curl ended with %d: %s", status, out)
			}
			said := only.lines()
			if !slices.ContainsFunc(said, func(line string) bool { return strings.HasPrefix(line, "XAUTH") }) {
				t.Errorf("XAUTH was not said where only that is understood: %q", said)
			}
			if password == "right" {
				wantStored(t, to, 1, "hello")
			}
		})
	}
}

// A hider stands before a server and makes it one that knows no AUTH.
type hider struct {
	addr string

	mu   sync.Mutex
	said []string // the client's lines
}

func hideAUTH(t *testing.T, server string) *hider {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	h := &hider{addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go h.pass(conn, server)
		}
	}()
	return h
}

// lines is what clients have said.
func (h *hider) lines() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.said)
}

// pass carries one connection, line by line.
func (h *hider) pass(client net.Conn, addr string) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		defer server.Close()
		for lines := bufio.NewScanner(client); lines.Scan(); {
			line := lines.Text()
			h.mu.Lock()
			h.said = append(h.said, line)
			h.mu.Unlock()
			if strings.HasPrefix(strings.ToUpper(line), "AUTH") {
				fmt.Fprint(client, "500 5.5.1 command not recognized\r\n")
				continue
			}
			fmt.Fprintf(server, "%s\r\n", line)
		}
	}()
	var reply []string
	for lines := bufio.NewScanner(server); lines.Scan(); {
		line := lines.Text()
		if len(line) < 4 {
			return
		}
		if !strings.HasPrefix(line[4:], "AUTH") {
			reply = append(reply, line)
		}
		if line[3] == ' ' {
			last := &reply[len(reply)-1] // if AUTH was the last line, it is the one before
			*last = (*last)[:3] + " " + (*last)[4:]
			fmt.Fprintf(client, "%s\r\n", strings.Join(reply, "\r\n"))
			reply = nil
		}
	}
}
