//go:build linux

package main

import (
	"regexp"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

const authorized = "smtpd_authorized_xclient_hosts = 127.0.0.0/8"

// telling has the server told who the client is, or the session ended.
const telling = "client_tls.mode = \"hide\"\nxclient.send = \"require\""

var received = regexp.MustCompile(`(?s)Received: from (\S+ \([^)]*\))\s.*?\swith (\S+)`)

// wantClient wants the server to have stored n messages, all from this client.
func wantClient(t *testing.T, s *real.Server, n int, client, protocol string) {
	t.Helper()
	for _, m := range s.Messages(t, n) {
		found := received.FindStringSubmatch(m.Header)
		if found == nil || found[1] != client || found[2] != protocol {
			t.Errorf("stored from %q, want %s with %s:\n%s", found, client, protocol, m.Header)
		}
	}
}

func TestByXCLIENTThePostfixSeesTheClient(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args          []string
		tls, protocol string
	}{
		"EHLO":      {nil, "", "ESMTP"},
		"HELO":      {[]string{"--protocol", "SMTP"}, "", "SMTP"},
		"pipelined": {[]string{"--pipeline"}, "", "ESMTP"},
		"in TLS":    {nil, "require", "ESMTPS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := real.NewCA(t)
			to := real.Postfix(t, real.Options{CA: ca, Settings: []string{authorized}})
			s := startShim(t, shimOptions{server: to.Addr, serverTLS: c.tls, ca: ca, routeSays: telling})
			if out, status := real.Swaks(t, s.addr, append(c.args, "--local-interface", "127.0.0.7")...); status != 0 {
				t.Fatalf("swaks ended with %d:\n%s", status, out)
			}
			wantClient(t, to, 1, "swaks.example.com (unknown [127.0.0.7])", c.protocol)
		})
	}
}

// Postfix takes an IPv6 address where it speaks IPv6 itself, wherever it listens.
func TestByXCLIENTThePostfixSeesAClientInIPv6(t *testing.T) {
	t.Parallel()
	to := real.Postfix(t, real.Options{Settings: []string{authorized, "inet_protocols = all", "mynetworks = [2001:db8::]/32"}})
	s := startShim(t, shimOptions{server: to.Addr, routeSays: telling + "\nproxy_protocol.accept_from = [\"127.0.0.0/8\"]"})
	c := connected(t, s.addr)
	c.send([]byte("PROXY TCP6 2001:db8::7 2001:db8::25 40000 25\r\n"))
	c.hear("220")
	c.deliver()
	wantClient(t, to, 1, "client.example.com (unknown [IPv6:2001:db8::7])", "ESMTP")
	s.logged(t, "client=2001:db8::7")
}

// swaks says XCLIENT to us, and what it says is what Postfix is told.
func TestXCLIENTIsPassedAlong(t *testing.T) {
	t.Parallel()
	to := real.Postfix(t, real.Options{Settings: []string{authorized, "mynetworks = 192.0.2.7"}})
	s := startShim(t, shimOptions{server: to.Addr, routeSays: telling + "\nxclient.accept_from = [\"127.0.0.7\"]"})
	says := []string{"--xclient-addr", "192.0.2.7", "--xclient-name", "spike.example.org", "--xclient-port", "40000"}
	if out, status := real.Swaks(t, s.addr, append(says, "--local-interface", "127.0.0.7")...); status != 0 {
		t.Fatalf("swaks ended with %d:\n%s", status, out)
	}
	wantClient(t, to, 1, "swaks.example.com (spike.example.org [192.0.2.7])", "ESMTP")
	s.logged(t, "client=192.0.2.7")

	out, status := real.Swaks(t, s.addr, append(says, "--local-interface", "127.0.0.8")...)
	if status == 0 || strings.Contains(out, "XCLIENT NAME") {
		t.Errorf("from elsewhere swaks may say XCLIENT, and ends with %d:\n%s", status, out)
	}
	c := dial(t, s.addr)
	c.send([]byte("XCLIENT ADDR=192.0.2.7\r\n"))
	c.hear("502")
	s.counted(t, `smtpshim_commands_total{route="peers",verb="xclient"} 2`)
}

// A Postfix that relays for our address does not do so for everybody behind us
// once it is told who they are.
func TestByXCLIENTThePostfixRelaysForWhomItTrusts(t *testing.T) {
	t.Parallel()
	to := real.Postfix(t, real.Options{Settings: []string{authorized, "mynetworks = 127.0.0.1/32"}})
	for says, taken := range map[string]bool{"client_tls.mode = \"hide\"": true, telling: false} {
		s := startShim(t, shimOptions{server: to.Addr, routeSays: says})
		out, status := real.Swaks(t, s.addr, "--local-interface", "127.0.0.7")
		if (status == 0) != taken {
			t.Errorf("%s: swaks ended with %d:\n%s", says, status, out)
		}
		if out, status = real.Swaks(t, s.addr, "--local-interface", "127.0.0.1"); status != 0 {
			t.Errorf("%s: from where it is trusted swaks ended with %d:\n%s", says, status, out)
		}
	}
}

// What Postfix decides about a client as it connects is the client's to hear.
func TestTheClientHearsWhatPostfixDecidesAboutIt(t *testing.T) {
	t.Parallel()
	to := real.Postfix(t, real.Options{Settings: []string{authorized, "smtpd_delay_reject = no",
		"smtpd_client_restrictions = check_client_access inline:{{127.0.0.7 = REJECT not you}}"}})
	s := startShim(t, shimOptions{server: to.Addr, routeSays: telling})
	out, status := real.Swaks(t, s.addr, "--local-interface", "127.0.0.7")
	if status == 0 || !strings.Contains(out, "554 5.7.1 <unknown[127.0.0.7]>: Client host rejected: not you") {
		t.Errorf("swaks ended with %d:\n%s", status, out)
	}
	if out, status = real.Swaks(t, s.addr, "--local-interface", "127.0.0.8"); status != 0 {
		t.Errorf("from elsewhere swaks ended with %d:\n%s", status, out)
	}
}

func TestAPostfixThatDoesNotTrustUsEndsTheSession(t *testing.T) {
	t.Parallel()
	to := real.Postfix(t, real.Options{})
	s := startShim(t, shimOptions{server: to.Addr, routeSays: telling})
	if out, status := real.Swaks(t, s.addr); status == 0 || !strings.Contains(out, "421 4.3.5 the server does not offer XCLIENT") {
		t.Errorf("swaks ended with %d:\n%s", status, out)
	}
	s.logged(t, "outcome=xclient", "we said 421 4.3.5")
}
