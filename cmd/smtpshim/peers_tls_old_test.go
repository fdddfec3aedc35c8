//go:build linux

package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// oldTLS is what Windows 2003 and its contemporaries speak at best, as GnuTLS
// calls it: TLS 1.0, 3DES, keys sent under the certificate's RSA key, SHA-1.
const oldTLS = "NONE:+VERS-TLS1.0:+3DES-CBC:+SHA1:+RSA:+SIGN-RSA-SHA1:+CTYPE-X509:+COMP-NULL"

// A scanner that stops at TLS 1.0 delivers to a provider that demands 1.3.
func TestAnOldClientDeliversToAModernServer(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	to := real.Postfix(t, real.Options{CA: ca, Settings: []string{
		"smtpd_tls_security_level = encrypt", "smtpd_tls_mandatory_protocols = >=TLSv1.3", "smtpd_tls_received_header = yes"}})
	const weak = "certificate = \"self-signed\"\nnames = [\"mail.example.com\"]\n"
	allowed := old("obsolete-tls-1.0", "broken-3des", "recordable-rsa-key-exchange")
	through := startShim(t, shimOptions{server: to.Addr, clientTLS: "require", serverTLS: "require", ca: ca, clientSays: weak + allowed})
	speak(t, real.GnuTLS(t, through.addr, oldTLS)).deliver()
	got := wantStored(t, to, 1, "hello")
	if !strings.Contains(got[0].Header, "(using TLSv1.3 ") {
		t.Errorf("Postfix saw no TLS 1.3:\n%s", got[0].Header)
	}
	through.logged(t, "client_tls=1.0 server_tls=1.3", "WEAK TLS is allowed: obsolete-tls-1.0, broken-3des, recordable-rsa-key-exchange with everybody, for ever")
	through.counted(t, `smtpshim_tls_sessions_total{route="peers",side="client",suite="TLS_RSA_WITH_3DES_EDE_CBC_SHA",version="1.0"} 1`)
}

func TestAnOldClientIsTurnedAwayWhereItIsNotAllowed(t *testing.T) {
	t.Parallel()
	const certificate = "certificate = \"self-signed\"\nnames = [\"mail.example.com\"]\n"
	for name, c := range map[string]struct{ says, logged string }{
		"nothing":    {"", "the client offers TLS 1.0 at most; it may use TLS 1.2 to 1.3; it would need obsolete-tls-1.0, broken-3des, recordable-rsa-key-exchange allowed"},
		"no suite":   {old("obsolete-tls-1.0"), "of which nothing may be used with it; it would need broken-3des, recordable-rsa-key-exchange allowed"},
		"elsewhere":  {"weak = [{ allow = [\"obsolete-tls-1.0\", \"broken-3des\", \"recordable-rsa-key-exchange\"], networks = [\"192.0.2.0/24\"] }]", "which is allowed, but not for this client now"},
		"until then": {"weak = [{ allow = [\"obsolete-tls-1.0\", \"broken-3des\", \"recordable-rsa-key-exchange\"], until = 2020-01-01, then = \"refuse\" }]", "which is allowed, but not for this client now"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			through := startShim(t, shimOptions{server: sink(t), clientTLS: "offer", clientSays: certificate + c.says})
			real.GnuTLS(t, through.addr, oldTLS)
			through.logged(t, c.logged, "outcome=tls")
		})
	}
}

// A modern sender, which demands TLS 1.3, delivers to a server of those years.
func TestAModernClientDeliversToAnOldServer(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	to := oldServer(t, ca)
	through := startShim(t, shimOptions{server: to.Addr, clientTLS: "require", serverTLS: "require", ca: ca,
		serverSays: oldName + old("obsolete-tls-1.0", "broken-3des", "recordable-rsa-key-exchange", "forgeable-sha1-certificates")})
	swaks(t, through.addr, "hello", "--tls", "--tls-protocol", "tlsv1_3", "--tls-verify", "--tls-ca-path", ca.File)
	got := wantStored(t, to, 1, "hello")
	if !strings.Contains(got[0].Header, "TLS1.0:RSA:3DES-CBC:SHA1") && !strings.Contains(got[0].Header, "3DES_EDE") {
		t.Errorf("Exim saw no 3DES:\n%s", got[0].Header)
	}
	through.logged(t, "client_tls=1.3 server_tls=1.0", "forgeable-sha1-certificates with the server, for ever")
	through.counted(t, `smtpshim_tls_sessions_total{route="peers",side="server",suite="TLS_RSA_WITH_3DES_EDE_CBC_SHA",version="1.0"} 1`)
}

func TestAnOldServerGetsNoMailWhereItIsNotAllowed(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	to := oldServer(t, ca)
	for name, c := range map[string]struct{ says, logged string }{
		"nothing":        {"", "the server finds nothing in our offer that it may use (alert 40: handshake failure); we offered TLS 1.2 to 1.3"},
		"no suite":       {old("obsolete-tls-1.0"), "it may need one of these allowed: broken-rc4, broken-3des, leaky-cbc-sha256, recordable-rsa-key-exchange"},
		"no certificate": {old("obsolete-tls-1.0", "broken-3des", "recordable-rsa-key-exchange"), "to take it, allow forgeable-sha1-certificates"},
	} {
		t.Run(name, func(t *testing.T) {
			through := startShim(t, shimOptions{server: to.Addr, serverTLS: "require", ca: ca, serverSays: oldName + c.says})
			out, status := real.Swaks(t, through.addr)
			if status == 0 || !strings.Contains(out, "<** 454 4.7.0") {
				t.Errorf("swaks ended with %d: %s", status, out)
			}
			through.logged(t, c.logged)
		})
	}
}

const oldName = "server_name = \"old.example.com\"\n"

// oldServer is an Exim, old.example.com, that speaks oldTLS alone, with a certificate by SHA-1.
func oldServer(t *testing.T, ca *real.CA) *real.Server {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	certificate, keyFile := ca.IssueFor(t, "old.example.com", key, func(c *x509.Certificate) {
		c.SignatureAlgorithm = x509.ECDSAWithSHA1
	})
	return real.Exim(t, real.Options{CA: ca, Cert: [2]string{certificate, keyFile}, Settings: []string{"tls_require_ciphers = " + oldTLS}})
}

// A real Postfix that stops at TLS 1.0.
func TestPostfixIsReachedWhereItStopsAtTLS10(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	to := real.Postfix(t, real.Options{CA: ca, Settings: []string{"smtpd_tls_security_level = encrypt", "smtpd_tls_mandatory_protocols = TLSv1",
		"smtpd_tls_mandatory_ciphers = medium", "tls_medium_cipherlist = ALL:@SECLEVEL=0", "smtpd_tls_received_header = yes"}})
	for name, says := range map[string]string{"allowed": old("obsolete-tls-1.0"), "opportunistic": "", "not": ""} {
		mode := "require"
		if name == "opportunistic" {
			mode = name
		}
		through := startShim(t, shimOptions{server: to.Addr, serverTLS: mode, serverSays: says, ca: ca})
		out, status := real.Swaks(t, through.addr, "--body", "hello")
		if (status == 0) != (name != "not") {
			t.Errorf("%s: swaks ended with %d: %s", name, status, out)
		}
	}
	for _, m := range wantStored(t, to, 2, "hello") {
		if !strings.Contains(m.Header, "(using TLSv1 ") {
			t.Errorf("Postfix saw no TLS 1.0:\n%s", m.Header)
		}
	}
}
