package tlspolicy

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	rsa2048 = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	rsa1024 = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 1024)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newECDSA() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

// signed is a certificate with its key, as a test makes one.
type signed struct {
	cert  *x509.Certificate
	key   crypto.Signer
	above []*x509.Certificate // that it is shown with
}

// The clock of testing/synctest begins in 2000.
var (
	longAgo = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	farOff  = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
)

// issue makes a certificate; nil signs itself. change may alter the template.
func (parent *signed) issue(name string, key crypto.Signer, change ...func(*x509.Certificate)) *signed {
	template := &x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, big.NewInt(1<<62))),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    longAgo, NotAfter: farOff,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:              []string{name},
	}
	for _, f := range change {
		f(template)
	}
	signer, above := template, key
	if parent != nil {
		signer, above = parent.cert, parent.key
	}
	s := &signed{cert: must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, signer, key.Public(), above)))), key: key}
	if parent != nil && parent.above != nil {
		s.above = append([]*x509.Certificate{parent.cert}, parent.above[1:]...)
	}
	return s
}

func isAuthority(c *x509.Certificate) {
	c.IsCA, c.KeyUsage, c.ExtKeyUsage, c.DNSNames = true, x509.KeyUsageCertSign, nil, nil
}

func bySHA1(c *x509.Certificate)      { c.SignatureAlgorithm = x509.SHA1WithRSA }
func bySHA1ECDSA(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 }

func valid(from, to time.Time) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }
}

// with shows further certificates behind the leaf.
func (s *signed) with(above ...*signed) *signed {
	c := *s
	for _, a := range above {
		c.above = append(c.above, a.cert)
	}
	return &c
}

func (s *signed) tls() tls.Certificate {
	c := tls.Certificate{Certificate: [][]byte{s.cert.Raw}, PrivateKey: s.key}
	for _, a := range s.above {
		c.Certificate = append(c.Certificate, a.Raw)
	}
	return c
}

func (s *signed) pem() (certificate, key []byte) {
	for _, c := range append([]*x509.Certificate{s.cert}, s.above...) {
		certificate = append(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(s.key))})
}

func file(t testing.TB, name string, text []byte) string {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(t.TempDir(), name)
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func (s *signed) source(t testing.TB) Source {
	certificate, key := s.pem()
	return Source{Certificate: file(t, "certificate.pem", certificate), Key: file(t, "key.pem", key)}
}

func store(t testing.TB, all ...*signed) *Store {
	t.Helper()
	var sources []Source
	for _, s := range all {
		sources = append(sources, s.source(t))
	}
	st, err := NewStore(sources...)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func roots(t testing.TB, all ...*signed) *Roots {
	t.Helper()
	var text []byte
	for _, s := range all {
		certificate, _ := s.pem()
		text = append(text, certificate...)
	}
	r, err := ReadRoots(file(t, "ca.pem", text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func acceptor(t testing.TB, leg ClientLeg) *Acceptor {
	t.Helper()
	a, err := NewAcceptor(leg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func dialer(t testing.TB, leg ServerLeg) *Dialer {
	t.Helper()
	d, err := NewDialer(leg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func ciphers(t testing.TB, words ...string) Ciphers {
	t.Helper()
	c, err := ParseCiphers(words...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func allow(w Weaknesses) Protocol { return Protocol{Allow: []Allowance{{Weaknesses: w}}} }

var somebody = netip.MustParseAddr("192.0.2.1")

// connect makes both ends of a connection.
func connect(t testing.TB) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{server, client} {
		t.Cleanup(func() { c.Close() })
	}
	return server, client
}

// An end shakes hands as one of two.
type end func(net.Conn) (*tls.Conn, error)

func (a *Acceptor) as(client netip.Addr) end {
	return func(c net.Conn) (*tls.Conn, error) { return a.Handshake(context.Background(), c, client) }
}

func (d *Dialer) to(server string) end {
	return func(c net.Conn) (*tls.Conn, error) { return d.Handshake(context.Background(), c, server) }
}

func plainServer(config *tls.Config) end {
	return func(c net.Conn) (*tls.Conn, error) {
		s := tls.Server(c, config)
		return s, s.Handshake()
	}
}

func plainClient(config *tls.Config) end {
	return func(c net.Conn) (*tls.Conn, error) {
		s := tls.Client(c, config)
		return s, s.Handshake()
	}
}

// met is how a handshake went.
type met struct {
	server, client error // of each side's handshake, or of the octet it then waited for
	state          tls.ConnectionState
}

// meet has two ends shake hands and say an octet each.
func meet(t testing.TB, server, client end) met {
	t.Helper()
	s, c := connect(t)
	var m met
	done := make(chan bool)
	go func() {
		defer close(done)
		m.server = talk(s, server, nil)
	}()
	m.client = talk(c, client, &m.state)
	<-done
	return m
}

func talk(conn net.Conn, shake end, state *tls.ConnectionState) error {
	defer conn.Close()
	secure, err := shake(conn)
	if err != nil {
		return err
	}
	if _, err := secure.Write([]byte{'x'}); err != nil {
		return err
	}
	if _, err := secure.Read(make([]byte, 1)); err != nil {
		return err
	}
	if state != nil {
		*state = secure.ConnectionState()
	}
	return nil
}

func (m met) ok() bool { return m.server == nil && m.client == nil }

// explained checks why a handshake failed and what the text has to mention.
func explained(t *testing.T, err error, reason string, mentions ...string) {
	t.Helper()
	got, text := Explain(err)
	if got != reason {
		t.Errorf("the reason is %q, not %q: %s", got, reason, text)
	}
	for _, m := range mentions {
		if !strings.Contains(text, m) {
			t.Errorf("the text does not mention %q: %s", m, text)
		}
	}
}

// settings lists the settings an error is about.
func settings(err error) []string {
	var names []string
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			names = append(names, settings(err)...)
		}
		return names
	}
	if s, ok := errors.AsType[*SettingError](err); ok {
		names = append(names, s.Setting)
	}
	return names
}

func newRSA() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) }

func colonless(p Pin) string { return strings.ReplaceAll(strings.ToLower(p.String()), ":", "") }

func mustNetworks(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}
