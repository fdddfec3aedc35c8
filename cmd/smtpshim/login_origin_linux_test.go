package main

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/textproto"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Where a client connects from, in the test of who may log in.
const (
	fromBalancer = "127.0.0.7" // may say PROXY
	fromGateway  = "127.0.0.8" // may say XCLIENT
	fromNowhere  = "127.0.0.9"
)

// talkFrom connects from an address and says lines, each after the reply to the one before.
// It returns the last reply; "+" in its front says that AUTH was offered somewhere.
func talkFrom(t *testing.T, from, to string, lines ...string) string {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	c := textproto.NewConn(conn)
	defer c.Close()
	last, offered := "", ""
	if strings.HasPrefix(lines[0], "PROXY ") && from == fromBalancer {
		c.PrintfLine("%s", lines[0]) // is answered with the greeting
	} else {
		lines = append([]string{""}, lines...)
	}
	for n, line := range lines {
		if n > 0 {
			c.PrintfLine("%s", line)
		}
		code, text, err := c.ReadResponse(0)
		if err != nil {
			return offered + "hung up"
		}
		if last = fmt.Sprintf("%d %s", code, text); strings.Contains(last, "\nAUTH ") {
			offered = "+"
		}
	}
	c.PrintfLine("QUIT")
	return offered + last
}

// Who may log in as whom from where: a PROXY header and XCLIENT move a client's address,
// but only from where they are to be believed, and neither is a login.
func TestWhoMayLogInAsWhomWithPROXYAndXCLIENT(t *testing.T) {
	p := startProvider(t)
	proxied, relayed := freeAddress(t), freeAddress(t)
	file := filepath.Join(t.TempDir(), "password")
	write(t, file, "short\n")
	logins := fmt.Sprintf("server_tls = {mode = \"implicit\", ca = %q}\n"+
		"[[route.login]]\naccount = \"office\"\nnetworks = [\"192.0.2.64/28\", \"2001:db8::/64\"]\nsender = \"scanner@example.com\"\n"+
		"[[route.login]]\naccount = \"office\"\nnetworks = [\"192.0.2.0/26\"]\nuser = \"canon\"\npassword_file = %q\nsender = \"canon@example.com\"\n",
		filepath.Join(p.dir, "ca.pem"), file)
	r := &running{t: t, path: filepath.Join(t.TempDir(), "smtpshim.toml")}
	write(t, r.path, fmt.Sprintf("admin.listen = \"\"\n%s"+
		"[[route]]\nname = \"proxied\"\nlisten = [%q]\nservers = [%q]\nproxy_protocol.accept_from = [%q]\n%s"+
		"[[route]]\nname = \"relayed\"\nlisten = [%q]\nservers = [%q]\nxclient.accept_from = [%q]\n%s",
		p.account(""), proxied, p.mail, fromBalancer, logins, relayed, p.mail, fromGateway, logins))
	r.serve()
	const (
		hello, mail = "EHLO x.example.com", "MAIL FROM:<x@example.org>"
		unasked     = "+250 2.1.0 MAIL FROM:<scanner@example.com>"
		asCanon     = "+250 2.1.0 MAIL FROM:<canon@example.com>"
		no          = "530 5.7.0"
	)
	plain := func(user, password string) string {
		return "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password))
	}
	proxy := func(client string) string { return "PROXY TCP4 " + client + " 192.0.2.1 4711 25" }
	for _, c := range []struct {
		from, to string
		lines    []string
		want     string
	}{
		{fromNowhere, proxied, []string{hello, mail}, no},
		{fromNowhere, relayed, []string{hello, mail}, no},
		{fromNowhere, proxied, []string{hello, plain("canon", "short")}, "504"},
		// A header that is to be believed.
		{fromBalancer, proxied, []string{proxy("192.0.2.65"), hello, mail}, unasked},
		{fromBalancer, proxied, []string{"PROXY TCP6 2001:db8::1 2001:db8::2 4711 25", hello, mail}, unasked},
		{fromBalancer, proxied, []string{"PROXY TCP6 ::ffff:192.0.2.65 ::ffff:192.0.2.1 4711 25", hello, mail}, unasked},
		{fromBalancer, proxied, []string{proxy("192.0.2.65"), hello, plain("whoever", "whatever"), mail}, unasked},
		{fromBalancer, proxied, []string{proxy("192.0.2.1"), hello, mail}, "+" + no},
		{fromBalancer, proxied, []string{proxy("192.0.2.1"), hello, plain("canon", "short"), mail}, asCanon},
		{fromBalancer, proxied, []string{proxy("192.0.2.1"), hello, plain("CANON", "short"), mail}, asCanon},
		{fromBalancer, proxied, []string{proxy("192.0.2.1"), hello, plain("canon", "wrong"), mail}, "+" + no},
		{fromBalancer, proxied, []string{proxy("192.0.2.1"), hello, plain("canon", "wrong")}, "+535 5.7.8"},
		{fromBalancer, proxied, []string{proxy("198.51.100.1"), hello, mail}, no},
		{fromBalancer, proxied, []string{proxy("198.51.100.1"), hello, plain("canon", "short")}, "504"},
		{fromBalancer, proxied, []string{proxy("127.0.0.1"), hello, mail}, no},
		{fromBalancer, proxied, []string{"PROXY UNKNOWN", hello, mail}, no},
		// A header that is not.
		{fromNowhere, proxied, []string{proxy("192.0.2.65"), hello, mail}, no},
		{fromNowhere, relayed, []string{proxy("192.0.2.65"), hello, mail}, no},
		{fromGateway, relayed, []string{proxy("192.0.2.65"), hello, mail}, no},
		// XCLIENT that is to be believed.
		{fromGateway, relayed, []string{hello, mail}, no},
		{fromGateway, relayed, []string{hello, "XCLIENT ADDR=192.0.2.65", hello, mail}, unasked},
		{fromGateway, relayed, []string{hello, "XCLIENT ADDR=IPV6:2001:db8::1", hello, mail}, unasked},
		{fromGateway, relayed, []string{hello, "XCLIENT ADDR=192.0.2.1", hello, plain("canon", "short"), mail}, asCanon},
		{fromGateway, relayed, []string{hello, "XCLIENT ADDR=198.51.100.1", hello, mail}, no},
		{fromGateway, relayed, []string{hello, "XCLIENT ADDR=[UNAVAILABLE]", hello, mail}, no},
		{fromGateway, relayed, []string{hello, "XCLIENT ADDR=192.0.2.65", hello, "XCLIENT ADDR=198.51.100.1", hello, mail}, "+" + no},
		// It names who has logged in elsewhere, which is none here.
		{fromGateway, relayed, []string{hello, "XCLIENT ADDR=198.51.100.1 LOGIN=canon", hello, mail}, no},
		{fromGateway, relayed, []string{hello, "XCLIENT ADDR=192.0.2.1 LOGIN=canon", hello, mail}, "+" + no},
		// XCLIENT that is not.
		{fromNowhere, relayed, []string{hello, "XCLIENT ADDR=192.0.2.65", hello, mail}, no},
		{fromNowhere, proxied, []string{hello, "XCLIENT ADDR=192.0.2.65", hello, mail}, no},
		{fromBalancer, proxied, []string{proxy("198.51.100.1"), hello, "XCLIENT ADDR=192.0.2.65", hello, mail}, no},
	} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			if got := talkFrom(t, c.from, c.to, c.lines...); !strings.HasPrefix(got, c.want) {
				t.Errorf("from %s %q ends with %q, not %q", c.from, c.lines, got, c.want)
			}
		})
	}
}
