//go:build linux

package main

import (
	"bufio"
	"net"
	"testing"
	"time"

	"smtpshim/proxy/smtptest/real"
)

// postscreen fails a client that speaks before its greeting. It sees one where
// early_commands = "show", and serves one that waits.
func TestPostscreenSeesWhoSpeaksBeforeTheGreeting(t *testing.T) {
	t.Parallel()
	to := real.Postfix(t, real.Options{Postscreen: true, Settings: []string{
		"postscreen_upstream_proxy_protocol = haproxy", // what it has found of a client it keeps by the address
		"postscreen_access_list =", "postscreen_cache_map =", "postscreen_dnsbl_sites =",
		"postscreen_greet_action = enforce", "postscreen_greet_wait = 4s", "postscreen_greet_banner = wait a bit",
	}})
	const tells = "proxy_protocol.send = \"v1\"\n"
	holds := startShim(t, shimOptions{server: to.Addr, routeSays: tells})
	shows := startShim(t, shimOptions{server: to.Addr, routeSays: tells + "early_commands = \"show\""})
	for name, c := range map[string]struct {
		shim
		client string
		early  bool
		hears  string // to RCPT
	}{
		"held, and waits":        {holds, "127.0.0.7", false, "250"},
		"held, and speaks first": {holds, "127.0.0.8", true, "250"},
		"seen, and waits":        {shows, "127.0.0.9", false, "250"},
		"seen, and speaks first": {shows, "127.0.0.10", true, "550 5.5.1 Protocol error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := connectedFrom(t, c.client, c.addr)
			if c.early {
				k.send([]byte("EHLO client.example.com\r\n"))
				k.hear("220")
				k.hear("250")
			} else {
				k.hear("220")
				k.say("EHLO client.example.com")
			}
			k.say("MAIL FROM:<a@example.com>")
			k.send([]byte("RCPT TO:<b@example.com>\r\n"))
			k.hear(c.hears)
			k.say("QUIT")
			if c.hears != "250" {
				c.logged(t, "early=true")
			}
		})
	}
}

// connectedFrom is connected, from an address of loopback.
func connectedFrom(t *testing.T, from, addr string) *client {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	return &client{t, conn, bufio.NewReader(conn)}
}
