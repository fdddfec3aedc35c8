package tlspolicy

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"software.sslmate.com/src/go-pkcs12"
)

// A Source names the files with a certificate of ours, its chain and its key: either
// PEM files or one PKCS#12 file. Certificate and Key are PEM files; if Key is "", the
// key is in Certificate too. PKCS12 is a PKCS#12 file. The first line of PasswordFile
// is its password; if PasswordFile is "", the password is empty.
type Source struct {
	Certificate, Key     string
	PKCS12, PasswordFile string
}

// files returns the files to watch for changes.
func (s Source) files() []string {
	var names []string
	for _, name := range []string{s.Certificate, s.Key, s.PKCS12, s.PasswordFile} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// name returns the file name for messages.
func (s Source) name() string {
	if s.PKCS12 != "" {
		return s.PKCS12
	}
	return s.Certificate
}

// load reads an identity. The error says what is wrong with the files.
func (s Source) load() (*identity, error) {
	switch {
	case s.PKCS12 != "" && (s.Certificate != "" || s.Key != ""):
		return nil, fmt.Errorf("both %q and %q are given; it is PEM files or a PKCS#12 file", s.PKCS12, s.Certificate+s.Key)
	case s.PKCS12 != "":
		return s.loadPKCS12()
	case s.PasswordFile != "":
		return nil, fmt.Errorf("password file %q without a PKCS#12 file; keys in PEM files have to be in clear", s.PasswordFile)
	case s.Certificate == "":
		return nil, fmt.Errorf("no file with a certificate is given for the key %q", s.Key)
	}
	certs, err := readCertificates(s.Certificate)
	if err != nil {
		return nil, err
	}
	keyFile := s.Key
	if keyFile == "" {
		keyFile = s.Certificate
	}
	key, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	return newIdentity(s, keyFile, key, certs)
}

func (s Source) loadPKCS12() (*identity, error) {
	text, err := os.ReadFile(s.PKCS12)
	if err != nil {
		return nil, err
	}
	password := ""
	if s.PasswordFile != "" {
		line, err := os.ReadFile(s.PasswordFile)
		if err != nil {
			return nil, err
		}
		password, _, _ = strings.Cut(string(line), "\n")
		password = strings.TrimSuffix(password, "\r")
	}
	if bytes.Contains(text, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("%q is a PEM file, not PKCS#12; name it as certificate and key", s.PKCS12)
	}
	key, leaf, chain, err := pkcs12.DecodeChain(text, password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword) && s.PasswordFile == "":
		return nil, fmt.Errorf("%q needs a password, and no file with one is given", s.PKCS12)
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, fmt.Errorf("the password in %q is not that of %q", s.PasswordFile, s.PKCS12)
	case err != nil:
		return nil, fmt.Errorf("%q is no PKCS#12 file with one key and its certificate: %w", s.PKCS12, err)
	}
	return newIdentity(s, s.PKCS12, key, append([]*x509.Certificate{leaf}, chain...))
}

// readCertificates reads the certificates of a PEM file.
func readCertificates(name string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	var others []string
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			others = append(others, block.Type)
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d in %q cannot be read: %w", len(certs)+1, name, err)
		}
		certs = append(certs, cert)
	}
	switch {
	case len(certs) > 0:
		return certs, nil
	case len(others) > 0:
		return nil, fmt.Errorf("%q holds no certificate, but %s", name, strings.Join(others, ", "))
	}
	return nil, fmt.Errorf("%q %s; a PEM file with a certificate is wanted", name, notPEM(text))
}

// readKey reads the first key in a PEM file.
func readKey(name string) (crypto.PrivateKey, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var others []string
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, fmt.Errorf("the key in %q is encrypted; a key in clear is wanted (openssl pkey -in KEY -out CLEAR, readable by us alone), or a PKCS#12 file with a password file", name)
		}
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			others = append(others, block.Type)
			continue
		}
		key, err := parseKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("the key in %q (%s) cannot be read: %w", name, block.Type, err)
		}
		return key, nil
	}
	if len(others) > 0 {
		return nil, fmt.Errorf("%q holds no key, but %s", name, strings.Join(others, ", "))
	}
	return nil, fmt.Errorf("%q %s; a PEM file with a key is wanted", name, notPEM(text))
}

// parseKey parses a key in any of the forms in PEM files: PKCS#8, PKCS#1, SEC 1.
func parseKey(der []byte) (crypto.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, fmt.Errorf("it is no key for RSA, ECDSA or Ed25519: %w", err)
}

// notPEM describes a file without PEM.
func notPEM(text []byte) string {
	if len(bytes.TrimSpace(text)) == 0 {
		return "is empty"
	}
	if bytes.Contains(text, []byte("-----BEGIN ")) {
		return "holds PEM that is damaged"
	}
	if _, err := x509.ParseCertificate(text); err == nil {
		return "is a certificate in DER (openssl x509 -inform DER -in FILE -out PEM makes PEM of it)"
	}
	if _, err := parseKey(text); err == nil {
		return "is a key in DER (openssl pkey -inform DER -in FILE -out PEM makes PEM of it)"
	}
	if _, _, _, err := pkcs12.DecodeChain(text, ""); err == nil || errors.Is(err, pkcs12.ErrIncorrectPassword) {
		return "is a PKCS#12 file, to be named as such, with its password file"
	}
	return "is no PEM file"
}

// newIdentity combines a key and its certificates. It orders the chain and records what
// was out of order.
func newIdentity(source Source, keyFile string, key crypto.PrivateKey, certs []*x509.Certificate) (*identity, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the key in %q is none that signs: %T", keyFile, key)
	}
	first := -1
	for i, cert := range certs {
		if samePublicKey(cert.PublicKey, signer.Public()) {
			first = i
			break
		}
	}
	if first < 0 {
		leaf := certs[0]
		return nil, fmt.Errorf("the key in %q (%s) does not belong to the certificate in %q: that is for %s, SHA-256 %s, key %s",
			keyFile, keyName(signer.Public()), source.name(), names(leaf), fingerprint(leaf), keyName(leaf.PublicKey))
	}
	id := &identity{source: source, leaf: certs[first]}
	if size := rsaBits(id.leaf); size > 0 && size < 1024 {
		return nil, cannot(fmt.Sprintf("the RSA key of %d bits in %q", size, keyFile))
	}
	id.notes = id.arrange(certs, first)
	id.weak = weaknessesOf(id.leaf)
	id.certificate = &tls.Certificate{PrivateKey: key, Leaf: id.leaf}
	for _, cert := range id.chain {
		id.certificate.Certificate = append(id.certificate.Certificate, cert.Raw)
	}
	return id, nil
}

// arrange orders the chain from the leaf up, and returns notes on what was wrong.
func (id *identity) arrange(certs []*x509.Certificate, first int) (notes []string) {
	file := id.source.name()
	places := []int{first} // in the file, of each certificate in the chain
	id.chain = []*x509.Certificate{id.leaf}
	for last := id.leaf; !selfSigned(last); {
		next := slices.IndexFunc(certs, func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubject, last.RawIssuer) && !slices.ContainsFunc(id.chain, c.Equal)
		})
		if next < 0 {
			break
		}
		last = certs[next]
		places = append(places, next)
		if selfSigned(last) {
			id.root = last
		} else {
			id.chain = append(id.chain, last)
		}
	}
	if !slices.IsSorted(places) {
		var right []string
		for _, place := range places {
			right = append(right, subject(certs[place]))
		}
		notes = append(notes, fmt.Sprintf("%q: the certificates are in the wrong order; right, and so they are sent, is %s", file, strings.Join(right, ", ")))
	}
	if id.root != nil {
		notes = append(notes, fmt.Sprintf("%q: the root %s is in the chain; whoever trusts it has it, so it is not sent", file, subject(id.root)))
	}
	for i, cert := range certs {
		if !slices.Contains(places, i) {
			notes = append(notes, fmt.Sprintf("%q: the certificate %s is no part of the chain, and not sent", file, subject(cert)))
		}
	}
	return notes
}

func samePublicKey(a, b crypto.PublicKey) bool {
	switch a := a.(type) {
	case *rsa.PublicKey:
		return a.Equal(b)
	case *ecdsa.PublicKey:
		return a.Equal(b)
	case ed25519.PublicKey:
		return a.Equal(b)
	}
	return false
}
