package tlspolicy

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// The lifetime of a self-signed certificate, and the time before its end at which it is
// replaced.
const (
	selfSignedYears = 5
	selfSignedRenew = 30 * 24 * time.Hour
)

// SelfSigned returns the files of two self-signed certificates in the directory dir,
// one with an ECDSA key (P-256) and one with an RSA key (2048 bits). names are the host
// names and addresses that they are for. SelfSigned creates dir if necessary. It
// creates a certificate, with a new key, only if there is none in dir, or if the one
// there ends within 30 days or is for other names. A pin of a certificate therefore
// survives restarts. Each set of names needs a directory of its own.
func SelfSigned(dir string, names ...string) ([]Source, error) {
	if len(names) == 0 {
		return nil, errors.New("a self-signed certificate needs a host name")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var sources []Source
	for _, kind := range []struct {
		file string
		key  func() (crypto.Signer, error)
	}{
		{"self-signed-ecdsa.pem", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }},
		{"self-signed-rsa.pem", func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) }},
	} {
		source := Source{Certificate: filepath.Join(dir, kind.file)}
		sources = append(sources, source)
		id, err := source.load()
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, fmt.Errorf("a self-signed certificate: %w; remove the file, and smtpshim makes it anew", err)
		case sameNames(hosts(id.leaf), names) && time.Until(id.leaf.NotAfter) > selfSignedRenew:
			continue
		}
		key, err := kind.key()
		if err != nil {
			return nil, err
		}
		if err := writeSelfSigned(source.Certificate, key, names); err != nil {
			return nil, err
		}
	}
	return sources, nil
}

func sameNames(a, b []string) bool {
	for _, list := range []*[]string{&a, &b} {
		*list = slices.Clone(*list)
		for i, name := range *list {
			if ip := net.ParseIP(name); ip != nil {
				(*list)[i] = ip.String()
			}
		}
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return slices.Equal(a, b)
}

// writeSelfSigned creates a certificate and writes it with its key to one file. The file
// is complete or does not exist.
func writeSelfSigned(name string, key crypto.Signer, names []string) error {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		Subject:               pkix.Name{CommonName: names[0][:min(len(names[0]), 64)]}, // RFC 5280, appendix A: ub-common-name
		NotBefore:             now.Add(-24 * time.Hour),                                 // for peers with a slow clock
		NotAfter:              now.AddDate(selfSignedYears, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if _, ok := key.(*rsa.PrivateKey); ok {
		template.KeyUsage |= x509.KeyUsageKeyEncipherment // for key exchange by RSA
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("making a certificate for %q: %w", names, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	for _, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: cert}, {Type: "PRIVATE KEY", Bytes: der}} {
		if err := pem.Encode(&text, block); err != nil {
			return err
		}
	}
	return replace(name, text.Bytes())
}

// replace replaces a file by a new one that only we can read.
func replace(name string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // does nothing after the file was renamed
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
