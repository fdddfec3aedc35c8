//go:build linux

package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// plainOfUser is AUTH PLAIN of the user "user" with the password "right".
const plainOfUser = "AUTH PLAIN AHVzZXIAcmlnaHQ="

// Exim takes AUTH EXTERNAL from whoever has the certificate, which is ours where TLS with
// it is. RFC 4422, A.1.
func TestNobodyLogsInToEximByOurCertificate(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	issued := func(name string) (certificate, key string) {
		signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return ca.IssueFor(t, name, signer, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	}
	to := real.Exim(t, real.Options{CA: ca, Mechanisms: []string{"EXTERNAL"},
		Settings: []string{"tls_try_verify_hosts = *", "tls_verify_certificates = " + ca.File}})
	certificate, key := issued("joe.example.com")
	joes, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	direct := connected(t, to.Addr)
	direct.hear("220")
	direct.startTLS(joes)
	if offer := direct.offer(); !strings.Contains(offer, "EXTERNAL") {
		t.Fatalf("Exim does not offer EXTERNAL: %s", offer)
	}
	direct.say("AUTH EXTERNAL am9l")

	certificate, key = issued("smtpshim.example.com")
	ours := "certificate = \"" + certificate + "\"\nkey = \"" + key + "\""
	for _, clientTLS := range []string{"hide", "offer"} {
		for _, serverTLS := range []string{"opportunistic", "require"} {
			s := startShim(t, shimOptions{server: to.Addr, clientTLS: clientTLS, serverTLS: serverTLS, serverSays: ours, ca: ca})
			c := connected(t, s.addr)
			c.hear("220")
			if clientTLS == "offer" {
				c.startTLS(joes)
			}
			if offer := c.offer(); strings.Contains(offer, "EXTERNAL") {
				t.Errorf("client_tls %s, server_tls %s: EXTERNAL is offered: %s", clientTLS, serverTLS, offer)
			}
			for _, form := range []string{"AUTH EXTERNAL am9l", "auth external =", "XAUTH EXTERNAL am9l"} {
				c.send([]byte(form + "\r\n"))
				c.hear("504")
			}
			c.say("MAIL FROM:<joe@example.com>")
			c.send([]byte("RCPT TO:<b@example.com>\r\n"))
			c.hear("550")
		}
	}
}

// A Postfix with smtpd_tls_auth_only offers no login in clear. Behind opportunistic TLS a
// client in clear finds it so too; behind TLS that is required it may log in.
func TestPostfixTakesNoPasswordFromAClientInClear(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	to := real.Postfix(t, real.Options{CA: ca, Users: map[string]string{"user": "right"}, Settings: []string{"smtpd_tls_auth_only = yes"}})
	for name, c := range map[string]struct {
		clientTLS, serverTLS, serverSays string
		inTLS                            bool
		hears                            string
	}{
		"direct":                               {hears: "503"},
		"direct, in TLS":                       {inTLS: true, hears: "235"},
		"opportunistic":                        {"hide", "opportunistic", "", false, "538"},
		"opportunistic, and the route says so": {"hide", "opportunistic", `auth_in_clear = "allow"`, false, "235"},
		"opportunistic, in TLS":                {"offer", "opportunistic", "", true, "235"},
		"opportunistic, in clear all the same": {"offer", "opportunistic", "", false, "538"},
		"required":                             {"hide", "require", "", false, "235"},
		"required, and the route says no":      {"hide", "require", `auth_in_clear = "refuse"`, false, "538"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := to.Addr
			var s shim
			if c.serverTLS != "" {
				s = startShim(t, shimOptions{server: to.Addr, clientTLS: c.clientTLS, serverTLS: c.serverTLS, serverSays: c.serverSays, ca: ca})
				addr = s.addr
			}
			k := connected(t, addr)
			k.hear("220")
			if c.inTLS {
				k.startTLS()
			}
			if offer := k.offer(); strings.Contains(offer, "AUTH") != (c.hears == "235") {
				t.Errorf("offered is: %s", offer)
			}
			k.send([]byte(plainOfUser + "\r\n"))
			k.hear(c.hears)
			k.say("QUIT")
			if c.hears == "538" {
				s.logged(t, "auth-in-clear")
			}
		})
	}
}

// startTLS begins TLS by STARTTLS, with certificates of the client's.
func (c *client) startTLS(certificates ...tls.Certificate) {
	c.t.Helper()
	c.say("EHLO client.example.com")
	c.say("STARTTLS")
	secure := tls.Client(c.conn.(net.Conn), &tls.Config{InsecureSkipVerify: true, Certificates: certificates})
	if err := secure.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.conn, c.from = secure, bufio.NewReader(secure)
}

// offer says EHLO, and returns the reply.
func (c *client) offer() string {
	c.t.Helper()
	c.send([]byte("EHLO client.example.com\r\n"))
	var all strings.Builder
	for {
		line, err := c.from.ReadString('\n')
		if err != nil {
			c.t.Fatalf("instead of a reply: %q, %v", line, err)
		}
		if all.WriteString(line); len(line) < 4 || line[3] != '-' {
			return all.String()
		}
	}
}
