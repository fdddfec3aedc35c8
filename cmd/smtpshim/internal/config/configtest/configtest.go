// Package configtest writes the files that tests of configurations need:
// configurations, certificates and keys.
package configtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Dir copies the directory from, the testdata of package config, to a temporary
// directory, and makes that the working directory of t. It adds the certificates and
// keys that the files in from name. If it fails, it calls t.Fatal.
func Dir(t *testing.T, from string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	key := Key(t, "key.pem")
	Key(t, "other-key.pem")
	Certificate(t, "cert.pem", key, time.Now().AddDate(1, 0, 0))
	Certificate(t, "old-cert.pem", key, time.Now().Add(-time.Hour))
}

// Key makes a private key, writes it as PEM to the file called name, and returns it. If
// it fails, it calls t.Fatal.
func Key(t *testing.T, name string) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, name, "PRIVATE KEY", der)
	return key
}

// Certificate writes a certificate for mail.example.com as PEM to the file called name.
// The certificate is self-signed with key. It is valid for the two years before the
// time until. If Certificate fails, it calls t.Fatal.
func Certificate(t *testing.T, name string, key *ecdsa.PrivateKey, until time.Time) {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.example.com"},
		DNSNames: []string{"mail.example.com"}, NotBefore: until.AddDate(-2, 0, 0), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, name, "CERTIFICATE", der)
}

func writePEM(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	Write(t, name, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

// Write writes text to the file called name. If it fails, it calls t.Fatal.
func Write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Including writes a configuration file to a temporary directory and returns its path.
// The file has a line that includes the directory conf.d, followed by the text main.
// Including writes parts to conf.d: the keys are names of files, the values are their
// texts. If Including fails, it calls t.Fatal.
func Including(t *testing.T, main string, parts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "conf.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range parts {
		Write(t, filepath.Join(dir, "conf.d", name), text)
	}
	path := filepath.Join(dir, "smtpshim.toml")
	Write(t, path, "include = \"conf.d\"\n"+main)
	return path
}

// Route returns the text of a [[route]] table for a route called name that listens on
// the address listen and has the server 192.0.2.1:25.
func Route(name, listen string) string {
	return fmt.Sprintf("[[route]]\nname = %q\nlisten = [%q]\nservers = [\"192.0.2.1:25\"]\n", name, listen)
}
