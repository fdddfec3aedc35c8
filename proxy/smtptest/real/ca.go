//go:build linux

package real

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// A CA is a certificate authority, whose files exist until the end of a test.
type CA struct {
	File string // file with its certificate, PEM

	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	issued atomic.Int64
}

// NewCA returns a new CA, whose certificate is valid for a year.
func NewCA(t testing.TB) *CA {
	t.Helper()
	ca := &CA{dir: Dir(t), key: newECDSA(t)}
	ca.cert = ca.issue(t, &x509.Certificate{
		Subject:               pkix.Name{CommonName: "smtpshim test authority"},
		NotBefore:             time.Now().AddDate(-1, 0, 0),
		NotAfter:              time.Now().AddDate(1, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}, "ca", ca.key)
	ca.File = filepath.Join(ca.dir, "ca.crt")
	return ca
}

// Issue issues a server's certificate for host, which is a name or an IP address. The
// certificate is valid for a day. Issue returns the names of two new files (PEM), one
// with the certificate and one with its key.
func (ca *CA) Issue(t testing.TB, host string) (certificate, key string) {
	t.Helper()
	return ca.IssueFor(t, host, newECDSA(t), nil)
}

// IssueFor does what Issue does, but the certificate is for signer, which takes the
// place of a new key. change may change the certificate before it is signed; nil: no
// change.
func (ca *CA) IssueFor(t testing.TB, host string, signer crypto.Signer, change func(*x509.Certificate)) (certificate, key string) {
	t.Helper()
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: host},
		NotBefore:   time.Now().Add(-time.Hour),
		NotAfter:    time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	if change != nil {
		change(template)
	}
	file := fmt.Sprintf("%s-%d", host, ca.issued.Add(1))
	ca.issue(t, template, file, signer)
	return filepath.Join(ca.dir, file+".crt"), filepath.Join(ca.dir, file+".key")
}

func newECDSA(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue signs a certificate for a key, with that key if the authority has none yet, and
// writes both to files of this name.
func (ca *CA) issue(t testing.TB, template *x509.Certificate, name string, key crypto.Signer) *x509.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	parent := ca.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	// Exim reads its key after it has changed its user. This key protects nothing.
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: der},
		name + ".key": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(ca.dir, file), pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return cert
}
