//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

// old allows on loopback what the tests need.
func old(names ...string) string {
	return fmt.Sprintf("weak = [{ allow = [%s] }]", quoted(names))
}

// A tlsVersion is one as everybody calls it.
type tlsVersion struct {
	name  string
	flags []string // of OpenSSL
	old   bool     // has to be allowed
}

var tlsVersions = []tlsVersion{
	{"1.0", []string{"-tls1", "-cipher", "DEFAULT:@SECLEVEL=0"}, true},
	{"1.1", []string{"-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"}, true},
	{"1.2", []string{"-tls1_2"}, false},
	{"1.3", []string{"-tls1_3"}, false},
}

// speak is a client that says SMTP through a program.
func speak(t *testing.T, p *real.Pipe) *client {
	return &client{t, p, bufio.NewReader(p)}
}

// deliver sends a message and ends the session.
func (c *client) deliver() {
	c.t.Helper()
	c.say("EHLO client.example.com")
	c.say("MAIL FROM:<sender@example.com>")
	c.say("RCPT TO:<recipient@example.com>")
	c.say("DATA")
	c.say("Subject: over TLS\r\n\r\nhello\r\n.")
	c.say("QUIT")
}

func TestOpenSSLDeliversInVersionsThatAreAllowed(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	for _, mode := range []string{"offer", "implicit"} {
		for _, weak := range []string{"", old("obsolete-tls-1.0")} {
			to := startShim(t, shimOptions{server: sink(t), clientTLS: mode, clientSays: weak, ca: ca})
			for _, v := range tlsVersions {
				t.Run(fmt.Sprintf("%s TLS %s allowed %v", mode, v.name, weak != ""), func(t *testing.T) {
					flags := v.flags
					if mode == "offer" {
						flags = append([]string{"-starttls", "smtp"}, flags...)
					}
					p := real.SClient(t, to.addr, flags...)
					if v.old && weak == "" {
						heard, err := io.ReadAll(p)
						if err != nil || strings.Contains(string(heard), "220 ") {
							t.Errorf("s_client heard %q, %v", heard, err)
						}
						to.logged(t, "the client offers TLS "+v.name+" at most; it may use TLS 1.2 to 1.3; it would need obsolete-tls-"+v.name+" allowed")
						return
					}
					c := speak(t, p)
					if mode == "implicit" {
						c.hear("220")
					}
					c.deliver()
					to.logged(t, "client_tls="+v.name)
				})
			}
			if weak == "" {
				to.counted(t, `smtpshim_tls_failures_total{reason="version",route="peers",side="client"} 2`)
			}
		}
	}
}

func TestMailGoesToOpenSSLInVersionsThatAreAllowed(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	for _, v := range tlsVersions {
		for _, weak := range []string{"", old("obsolete-tls-1.0")} {
			t.Run(fmt.Sprintf("TLS %s allowed %v", v.name, weak != ""), func(t *testing.T) {
				t.Parallel()
				addr := real.FreeAddr()
				host, _, _ := net.SplitHostPort(addr)
				certificate, key := ca.Issue(t, host)
				through := startShim(t, shimOptions{server: addr, serverTLS: "implicit", serverSays: weak, ca: ca})
				through.logged(t, "connection refused") // startShim's own try is over, and does not use up s_server's one connection
				go swallow(real.SServer(t, addr, certificate, key, v.flags...))
				refused := v.old && weak == ""
				var c *client
				real.Wait(t, "s_server", func() bool { // which may not listen yet
					c = connected(t, through.addr)
					line, err := c.from.ReadString('\n')
					return err == nil && (strings.HasPrefix(line, "220 ") || refused && strings.HasPrefix(line, "421 4.") &&
						strings.Contains(through.log.String(), "TLS handshake"))
				})
				if refused {
					through.logged(t, "it may need one of these allowed: obsolete-tls-1.0")
					return
				}
				c.deliver()
				through.logged(t, "messages=1", "server_tls="+v.name)
			})
		}
	}
}

func TestSwaksAndCurlDeliverInEveryVersion(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	to := real.Postfix(t, real.Options{})
	through := startShim(t, shimOptions{server: to.Addr, clientTLS: "require", ca: ca, clientSays: old("obsolete-tls-1.0")})
	for i, v := range []struct{ name, swaks, curl string }{
		{"1.0", "tlsv1", "1.0"}, {"1.1", "tlsv1_1", "1.1"}, {"1.2", "tlsv1_2", "1.2"}, {"1.3", "tlsv1_3", "1.3"},
	} {
		out := swaks(t, through.addr, "hello", "--tls", "--tls-protocol", v.swaks, "--tls-cipher", "DEFAULT:@SECLEVEL=0",
			"--tls-verify", "--tls-ca-path", ca.File)
		if !strings.Contains(out, "=== TLS started") {
			t.Errorf("TLS %s: swaks began no TLS: %s", v.name, out)
		}
		out, status := real.Curl(t, through.addr, "Subject: over TLS\n\nhello\n", "--ssl-reqd", "--cacert", ca.File,
			"--tlsv"+v.curl, "--tls-max", v.curl, "--ciphers", "DEFAULT:@SECLEVEL=0")
		if status != 0 {
			t.Errorf("TLS %s: curl ended with %d: %s", v.name, status, out)
		}
		if got := to.Messages(t, 2*(i+1)); len(got) != 2*(i+1) {
			t.Errorf("TLS %s: %d messages", v.name, len(got))
		}
		through.logged(t, "client_tls="+v.name)
	}
	out, status := real.Swaks(t, through.addr)
	if status == 0 || !strings.Contains(out, "530 5.7.0") {
		t.Errorf("swaks in clear ended with %d: %s", status, out)
	}
}

func TestEximDeliversWithRequiredTLS(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	to := real.Exim(t, real.Options{CA: ca})
	through := startShim(t, shimOptions{server: to.Addr, clientTLS: "require", serverTLS: "require", ca: ca})
	from := real.Exim(t, real.Options{Relay: through.addr, RelayTLS: "verify", CA: ca})
	from.Sendmail(t, "Subject: queued\n\nhello\n", "-f", "sender@example.com", "recipient@example.com")
	wantStored(t, to, 1, "hello")
	through.logged(t, "client_tls=1.3 server_tls=1.3")
}

func TestPostfixsProberVerifiesUs(t *testing.T) {
	t.Parallel()
	ca := real.NewCA(t)
	certificate, key := ca.Issue(t, "mail.example.com")
	through := startShim(t, shimOptions{server: sink(t), clientTLS: "offer", clientSays: fmt.Sprintf("certificate = %q\nkey = %q\n", certificate, key)})
	const verified = "Verified TLS connection established to "
	out, status := real.PostTLSFinger(t, through.addr, "mail.example.com", ca.File)
	if status != 0 || !strings.Contains(out, verified) {
		t.Errorf("posttls-finger ended with %d: %s", status, out)
	}
	if out, _ := real.PostTLSFinger(t, through.addr, "other.example.com", ca.File); strings.Contains(out, verified) {
		t.Errorf("posttls-finger believes anything: %s", out)
	}
}

// accepted are the lines in which sslscan tells of a suite.
var accepted = regexp.MustCompile(`(?m)^(?:Preferred|Accepted) +(TLSv1\.[0-3]|SSLv[23]) +\d+ +bits +(\S+)`)

// scan gives the versions and suites that sslscan finds.
func scan(t *testing.T, addr string) (found []string) {
	t.Helper()
	out, status := real.SSLScan(t, addr)
	if status != 0 {
		t.Fatalf("sslscan ended with %d: %s", status, out)
	}
	for _, m := range accepted.FindAllStringSubmatch(out, -1) {
		found = append(found, m[1]+" "+m[2])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// with puts a version before suites.
func with(version string, suites ...string) (list []string) {
	for _, s := range suites {
		list = append(list, version+" "+s)
	}
	return list
}

func TestAScanFindsWhatIsAllowedAndNothingElse(t *testing.T) {
	t.Parallel()
	tls13 := with("TLSv1.3", "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
	gcm := strings.Fields("ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES256-GCM-SHA384 ECDHE-ECDSA-CHACHA20-POLY1305 " +
		"ECDHE-RSA-AES128-GCM-SHA256 ECDHE-RSA-AES256-GCM-SHA384 ECDHE-RSA-CHACHA20-POLY1305")
	cbc := strings.Fields("ECDHE-ECDSA-AES128-SHA ECDHE-ECDSA-AES256-SHA ECDHE-RSA-AES128-SHA ECDHE-RSA-AES256-SHA")
	rsa, rsaGCM := []string{"AES128-SHA", "AES256-SHA"}, []string{"AES128-GCM-SHA256", "AES256-GCM-SHA384"}
	des := []string{"TLS_RSA_WITH_3DES_EDE_CBC_SHA", "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"} // OpenSSL has no names for them any more
	before12 := slices.Concat(cbc, rsa, des)
	for _, test := range []struct {
		name, says string
		want       []string
	}{
		{"default", "", slices.Concat(tls13, with("TLSv1.2", gcm...))},
		{"legacy", old("obsolete-tls-1.0", "broken-3des", "recordable-rsa-key-exchange"),
			slices.Concat(tls13, with("TLSv1.2", slices.Concat(gcm, before12, rsaGCM)...), with("TLSv1.1", before12...), with("TLSv1.0", before12...))},
		{"a list", "maximum = \"1.2\"\nciphers = [\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"]",
			with("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			through := startShim(t, shimOptions{server: sink(t), clientTLS: "offer",
				clientSays: "certificate = \"self-signed\"\nnames = [\"mail.example.com\"]\n" + test.says})
			got := scan(t, through.addr)
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestACertificateIsReplacedUnderWay(t *testing.T) {
	t.Parallel()
	dir := real.Dir(t)
	certificate, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	renew := func() *real.CA {
		ca := real.NewCA(t)
		newCertificate, newKey := ca.Issue(t, "127.0.0.1")
		if err := errors.Join(os.Rename(newKey, key), os.Rename(newCertificate, certificate)); err != nil {
			t.Fatal(err)
		}
		return ca
	}
	first := renew()
	through := startShim(t, shimOptions{server: sink(t), clientTLS: "offer",
		clientSays: fmt.Sprintf("certificate = %q\nkey = %q\n", certificate, key)})
	underWay := speak(t, real.SClient(t, through.addr, "-starttls", "smtp", "-verify_return_error", "-CAfile", first.File))
	underWay.say("EHLO client.example.com")

	second := renew()
	real.Wait(t, "the new certificate", func() bool {
		out, _ := real.SClientReport(t, through.addr, "-verify_return_error", "-CAfile", second.File)
		return strings.Contains(out, "Verification: OK")
	})
	through.logged(t, "msg=\"certificate reloaded\" route=peers side=client")
	through.counted(t, `smtpshim_certificate_reloads_total{outcome="ok",route="peers"} 1`)
	underWay.deliver()
}
