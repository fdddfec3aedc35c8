//go:build linux

package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"smtpshim/proxy/smtptest/real"
)

// negativeSerial makes a self-signed certificate for a host whose serial number is
// negative, as a Cisco ASA and SQL Server make them (microsoft/go-sqlcmd#755). Package
// x509 does not make one: the first octet of a positive number is changed, and the
// certificate is signed again.
func negativeSerial(t *testing.T, host string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0x7b00000000000005),
		Subject:      pkix.Name{CommonName: host},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.ParseIP(host)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		TBS, Algorithm asn1.RawValue
		Signature      asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &c); err != nil {
		t.Fatal(err)
	}
	c.TBS.FullBytes = bytes.Replace(c.TBS.FullBytes, []byte{0x7b, 0, 0, 0, 0, 0, 0, 5}, []byte{0xfb, 0, 0, 0, 0, 0, 0, 5}, 1)
	digest := sha256.Sum256(c.TBS.FullBytes)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	c.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	if der, err = asn1.Marshal(c); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// answerAll answers every line with 250 until the other side hangs up.
func answerAll(conn net.Conn) {
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		fmt.Fprint(conn, "250 ok\r\n")
	}
}

// Such a certificate is no reason to send mail in clear, or not at all: users of
// certificates should be prepared for it (RFC 5280, 4.1.2.2).
func TestAServersCertificateMayHaveANegativeSerialNumber(t *testing.T) {
	t.Parallel()
	certificate := negativeSerial(t, "127.0.0.1")
	der := certificate.Certificate[0]
	authority := filepath.Join(real.Dir(t), "server.pem")
	if err := os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	fingerprint := sha256.Sum256(der)
	pins := fmt.Sprintf("pins = [%q]", hex.EncodeToString(fingerprint[:]))
	wrongPins := fmt.Sprintf("pins = [%q]", hex.EncodeToString(make([]byte, len(fingerprint))))
	for name, c := range map[string]struct {
		mode, says string
		taken      bool
	}{
		"opportunistic": {"opportunistic", "", true},
		"not verified":  {"require", "verify = false", true},
		"pinned":        {"require", pins, true},
		"verified":      {"require", fmt.Sprintf("ca = %q", authority), true},
		"wrong pin":     {"require", wrongPins, false},
		"no authority":  {"require", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startStarter(t, func(conn net.Conn) {
				secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}})
				conn.SetDeadline(time.Now().Add(time.Minute))
				if secure.Handshake() == nil {
					answerAll(secure)
				}
			})
			through := startShim(t, shimOptions{server: server.addr, clientTLS: "hide", serverTLS: c.mode, serverSays: c.says})
			client := dial(t, through.addr)
			client.send([]byte("EHLO client.example.com\r\n"))
			if !c.taken {
				client.hear("454 4.7.0")
				return
			}
			client.hear("250")
			client.say("MAIL FROM:<sender@example.com>")
			client.say("QUIT")
			through.logged(t, "outcome=ok", "server_tls=1.3")
			if server.inClear("MAIL") {
				t.Errorf("the server heard in clear %q", server.said)
			}
		})
	}
}
