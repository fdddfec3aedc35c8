package tlspolicy

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

func TestEveryMistakeInFilesIsExplained(t *testing.T) {
	one, other := (*signed)(nil).issue(name, newECDSA()), (*signed)(nil).issue(name, newECDSA())
	certificate, key := one.pem()
	_, otherKey := other.pem()
	p12 := must(pkcs12.Modern.Encode(one.key, one.cert, nil, "secret"))
	der := must(x509.MarshalPKCS8PrivateKey(one.key))
	in := func(text []byte) string { return file(t, "file", text) }
	block := func(kind string, headers map[string]string) string {
		return in(pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: []byte("x")}))
	}
	good, goodKey := in(certificate), in(key)
	for _, c := range []struct {
		name     string
		source   Source
		mentions []string
	}{
		{"no such certificate", Source{Certificate: "/nowhere/c.pem", Key: goodKey}, []string{"/nowhere/c.pem"}},
		{"no such key", Source{Certificate: good, Key: "/nowhere/k.pem"}, []string{"/nowhere/k.pem"}},
		{"no certificate named", Source{Key: goodKey}, []string{goodKey}},
		{"empty", Source{Certificate: in(nil), Key: goodKey}, []string{"is empty"}},
		{"no PEM", Source{Certificate: in([]byte("hello")), Key: goodKey}, []string{"no PEM"}},
		{"damaged PEM", Source{Certificate: in(certificate[:100]), Key: goodKey}, []string{"damaged"}},
		{"PEM of nonsense", Source{Certificate: block("CERTIFICATE", nil), Key: goodKey}, []string{"certificate 1"}},
		{"DER", Source{Certificate: in(one.cert.Raw), Key: goodKey}, []string{"a certificate in DER", "openssl x509"}},
		{"key in DER", Source{Certificate: good, Key: in(der)}, []string{"a key in DER", "openssl pkey"}},
		{"PKCS#12 as PEM", Source{Certificate: in(p12), Key: goodKey}, []string{"PKCS#12"}},
		{"exchanged", Source{Certificate: goodKey, Key: good}, []string{"no certificate", "PRIVATE KEY"}},
		{"no key", Source{Certificate: good}, []string{"no key", "CERTIFICATE"}},
		{"encrypted key, PKCS#8", Source{Certificate: good, Key: block("ENCRYPTED PRIVATE KEY", nil)}, []string{"encrypted", "openssl pkey"}},
		{"encrypted key, PKCS#1", Source{Certificate: good, Key: block("RSA PRIVATE KEY", map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "DES-EDE3-CBC,00"})}, []string{"encrypted"}},
		{"key of nonsense", Source{Certificate: good, Key: block("PRIVATE KEY", nil)}, []string{"cannot be read"}},
		{"another key", Source{Certificate: good, Key: in(otherKey)}, []string{"does not belong", name, fingerprint(one.cert).String(), "ECDSA 256"}},
		{"no such PKCS#12", Source{PKCS12: "/nowhere/c.p12"}, []string{"/nowhere/c.p12"}},
		{"PEM as PKCS#12", Source{PKCS12: good}, []string{"is a PEM file"}},
		{"nonsense as PKCS#12", Source{PKCS12: in([]byte("hello"))}, []string{"no PKCS#12"}},
		{"no password", Source{PKCS12: in(p12)}, []string{"needs a password"}},
		{"wrong password", Source{PKCS12: in(p12), PasswordFile: in([]byte("guess\n"))}, []string{"the password in"}},
		{"no such password file", Source{PKCS12: in(p12), PasswordFile: "/nowhere/p"}, []string{"/nowhere/p"}},
		{"both", Source{PKCS12: in(p12), Certificate: good}, []string{"both"}},
		{"password for PEM", Source{Certificate: good, Key: goodKey, PasswordFile: good}, []string{"without a PKCS#12"}},
	} {
		_, err := NewStore(c.source)
		for _, m := range c.mentions {
			if err == nil || !strings.Contains(err.Error(), m) {
				t.Errorf("%s: %q is not mentioned: %v", c.name, m, err)
			}
		}
	}
	if _, err := NewStore(Source{Certificate: "/nowhere/1"}, Source{Certificate: "/nowhere/2"}); err == nil || !strings.Contains(err.Error(), "/nowhere/1") || !strings.Contains(err.Error(), "/nowhere/2") {
		t.Errorf("not all mistakes at once: %v", err)
	}
	if _, err := NewStore(); err == nil {
		t.Error("a store of nothing")
	}
	for _, right := range []Source{
		{Certificate: good, Key: goodKey},
		{Certificate: in(slices.Concat(certificate, key))},
		{PKCS12: in(p12), PasswordFile: in([]byte("secret\r\n"))},
	} {
		st, err := NewStore(right)
		if err != nil {
			t.Errorf("%+v: %v", right, err)
		} else if i := st.Infos()[0]; i.Fingerprint != fingerprint(one.cert) || i.Key != "ECDSA 256" || !i.SelfSigned || !slices.Equal(i.Names, []string{name}) {
			t.Errorf("%+v", i)
		}
	}
}

func TestAKeyTooShortForGoIsSaidToBe(t *testing.T) {
	p, q := must(rand.Prime(rand.Reader, 384)), must(rand.Prime(rand.Reader, 384))
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537},
		D:         new(big.Int).ModInverse(big.NewInt(65537), phi), Primes: []*big.Int{p, q},
	}
	ca := (*signed)(nil).issue("Example CA", newECDSA(), isAuthority)
	certificate, _ := ca.issue(name, key).pem()
	text := append(certificate, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})...)
	if _, err := NewStore(Source{Certificate: file(t, "short.pem", text)}); err == nil || !strings.Contains(err.Error(), "stunnel") {
		t.Error(err)
	}
}

func TestAChainIsPutInOrderAndWhatWasWrongIsWarnedOf(t *testing.T) {
	ca := (*signed)(nil).issue("Example CA", newECDSA(), isAuthority)
	upper := ca.issue("Upper", newECDSA(), isAuthority)
	lower := upper.issue("Lower", newECDSA(), isAuthority)
	leaf := lower.issue(name, newECDSA())
	stray := (*signed)(nil).issue("Stray", newECDSA())
	for _, c := range []struct {
		name     string
		order    []*signed
		sent     int
		warnings []string
	}{
		{"right", []*signed{leaf, lower, upper}, 3, []string{"Example CA"}}, // not an authority of this system
		{"root included", []*signed{leaf, lower, upper, ca}, 3, []string{"root"}},
		{"intermediates exchanged", []*signed{leaf, upper, lower}, 3, []string{"wrong order", "Example CA"}},
		{"leaf last", []*signed{ca, upper, lower, leaf}, 3, []string{"wrong order", "root"}},
		{"intermediate missing", []*signed{leaf, upper}, 1, []string{"no part of the chain", "Lower"}},
		{"stray", []*signed{leaf, stray, lower, upper, ca}, 3, []string{"root", "Stray"}},
	} {
		var text []byte
		for _, s := range c.order {
			certificate, _ := (&signed{cert: s.cert, key: s.key}).pem()
			text = append(text, certificate...)
		}
		_, key := leaf.pem()
		st, err := NewStore(Source{Certificate: file(t, "c.pem", text), Key: file(t, "k.pem", key)})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if id := st.current()[0]; id.leaf.Equal(leaf.cert) != true || len(id.certificate.Certificate) != c.sent {
			t.Errorf("%s: %d are sent", c.name, len(id.certificate.Certificate))
		}
		texts := st.Warnings(time.Now())
		if len(texts) != len(c.warnings) {
			t.Errorf("%s: %q", c.name, texts)
			continue
		}
		for i, mentions := range c.warnings {
			if !strings.Contains(texts[i], mentions) {
				t.Errorf("%s: %q does not mention %q", c.name, texts[i], mentions)
			}
		}
	}
}

func TestDatesOfOurCertificatesAreWarnedOf(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		from, to time.Time
		mentions string
	}{
		{longAgo, farOff, ""},
		{longAgo, now.AddDate(0, 0, 20).Add(time.Hour), "expires in 20 days"},
		{longAgo, now.AddDate(0, 0, -20), "expired 20 days ago"},
		{now.AddDate(0, 0, 2), farOff, "only from"},
	} {
		texts := store(t, (*signed)(nil).issue(name, newECDSA(), valid(c.from, c.to))).Warnings(now)
		if c.mentions == "" && len(texts) > 0 || c.mentions != "" && (len(texts) != 1 || !strings.Contains(texts[0], c.mentions)) {
			t.Errorf("%q: %q", c.mentions, texts)
		}
	}
}

func TestAShortRSAKeyIsNamedWithItsSize(t *testing.T) {
	ca := (*signed)(nil).issue("Old CA", rsa1024(), isAuthority)
	short, long := ca.issue(name, rsa1024()), (*signed)(nil).issue(name, rsa2048())
	const want = "has an RSA key of 1024 bits; 2048 are wanted at least"
	for what, texts := range map[string][]string{
		"ours":           store(t, short, long).Warnings(time.Now()),
		"an authority's": roots(t, ca).warnings(time.Now()),
	} {
		if !strings.Contains(strings.Join(texts, "\n"), want) {
			t.Errorf("%s: %q", what, texts)
		}
	}
	if texts := strings.Join(store(t, long).Warnings(time.Now()), "\n"); strings.Contains(texts, "RSA") {
		t.Errorf("2048 bits: %s", texts)
	}
	_, err := NewAcceptor(ClientLeg{Store: store(t, short)})
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "allow breakable-short-rsa for those clients") {
		t.Errorf("the only one: %v", err)
	}
}

func TestTheCertificateFitsTheClient(t *testing.T) {
	ec, short := (*signed)(nil).issue(name, newECDSA()), (*signed)(nil).issue("old.example.com", rsa1024())
	long := (*signed)(nil).issue(name, rsa2048())
	org := (*signed)(nil).issue("mail.example.org", rsa2048())
	a := acceptor(t, ClientLeg{Store: store(t, short, long, org, ec), Protocol: allow(ObsoleteTLS10 | RecordableRSAKeyExchange | BreakableShortRSA)})
	for _, c := range []struct {
		name   string
		client *tls.Config
		want   *signed
	}{
		{"ECDSA first", &tls.Config{ServerName: name}, ec},
		{"without a name", &tls.Config{}, ec},
		{"another name", &tls.Config{ServerName: "mail.example.org"}, org},
		{"a name of nobody", &tls.Config{ServerName: "nobody.example.net"}, ec},
		{"RSA key exchange only", &tls.Config{ServerName: name, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}, long},
		{"an old client", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, short},
		{"an old client with a name", &tls.Config{ServerName: name, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, ec},
	} {
		c.client.InsecureSkipVerify = true
		m := meet(t, a.as(somebody), plainClient(c.client))
		if !m.ok() || !m.state.PeerCertificates[0].Equal(c.want.cert) {
			t.Errorf("%s: %v, %v", c.name, m.server, m.client)
		}
	}
}

func TestFilesThatChangeAreUsedAndBadOnesChangeNothing(t *testing.T) {
	first, second := (*signed)(nil).issue(name, newECDSA()), (*signed)(nil).issue(name, newECDSA())
	source := first.source(t)
	synctest.Test(t, func(t *testing.T) {
		st, err := NewStore(source)
		if err != nil {
			t.Fatal(err)
		}
		var reports []error
		st.Reloaded = func(err error) { reports = append(reports, err) }
		a := acceptor(t, ClientLeg{Store: st})
		seen := func() *x509.Certificate {
			st.Refresh()
			m := meet(t, a.as(somebody), plainClient(&tls.Config{InsecureSkipVerify: true}))
			if !m.ok() {
				t.Fatal(m.server, m.client)
			}
			return m.state.PeerCertificates[0]
		}
		certificate, key := second.pem()
		file(t, source.Certificate, certificate) // its key is not there yet
		if !seen().Equal(first.cert) || len(reports) != 0 {
			t.Error("files are looked at with every handshake")
		}
		for range 3 {
			<-time.After(every)
			if !seen().Equal(first.cert) {
				t.Error("a certificate without its key is used")
			}
		}
		if len(reports) != 1 || reports[0] == nil || !strings.Contains(reports[0].Error(), "does not belong") {
			t.Errorf("reports of a bad pair: %q", reports)
		}
		if texts := st.Warnings(time.Now()); len(texts) != 1 {
			t.Errorf("warnings of a bad pair: %q", texts)
		}
		if list := st.Failures(); len(list) != 1 || list[0].File != source.Certificate || !strings.Contains(list[0].Err, "does not belong") || time.Since(list[0].At) < 2*every {
			t.Errorf("failures of a bad pair: %+v", list)
		}
		file(t, source.Key, key)
		<-time.After(every)
		if !seen().Equal(second.cert) || len(reports) != 2 || reports[1] != nil {
			t.Errorf("a good pair is not used: %q", reports)
		}
		if list := st.Failures(); list != nil {
			t.Errorf("a good pair has failures: %+v", list)
		}
		if err := os.Remove(source.Key); err != nil {
			t.Fatal(err)
		}
		<-time.After(every)
		if !seen().Equal(second.cert) || len(reports) != 3 || !errors.Is(reports[2], os.ErrNotExist) {
			t.Errorf("a key that is gone: %q", reports)
		}
		<-time.After(every)
		if !seen().Equal(second.cert) || len(reports) != 3 {
			t.Errorf("reported twice: %q", reports)
		}
	})
}

func TestSelfSignedCertificatesAreMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "tls")
	prints := func(names ...string) []Pin {
		t.Helper()
		sources, err := SelfSigned(dir, names...)
		if err != nil {
			t.Fatal(err)
		}
		st, err := NewStore(sources...)
		if err != nil {
			t.Fatal(err)
		}
		if texts := st.Warnings(time.Now()); len(texts) > 0 {
			t.Errorf("%q", texts)
		}
		var all []Pin
		for _, i := range st.Infos() {
			all = append(all, i.Fingerprint)
			if i.DaysLeft(time.Now()) < 5*365-1 || !i.SelfSigned || !sameNames(i.Names, names) {
				t.Errorf("%+v", i)
			}
			stat, err := os.Stat(i.Source)
			if err != nil || stat.Mode() != 0o600 {
				t.Errorf("%s: %v, %v", i.Source, stat.Mode(), err)
			}
		}
		return all
	}
	first := prints(name, "192.0.2.1")
	if again := prints(name, "192.0.2.1"); !slices.Equal(again, first) || len(first) != 2 {
		t.Error("made again at the second start")
	}
	// One that ends soon, and one that is not what it was.
	ending := (*signed)(nil).issue(name, newECDSA(), valid(longAgo, time.Now().Add(selfSignedRenew-time.Hour)), func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)}
	})
	certificate, key := ending.pem()
	file(t, filepath.Join(dir, "self-signed-ecdsa.pem"), slices.Concat(certificate, key))
	later := prints(name, "192.0.2.1")
	if later[0] == fingerprint(ending.cert) || later[1] != first[1] {
		t.Error("the one that ends, and only that, is made anew")
	}
	file(t, filepath.Join(dir, "self-signed-ecdsa.pem"), []byte("x"))
	if _, err := SelfSigned(dir, name, "192.0.2.1"); err == nil || !strings.Contains(err.Error(), "self-signed-ecdsa.pem") {
		t.Errorf("a file of something else is overwritten: %v", err)
	}
	if _, err := SelfSigned(dir); err == nil {
		t.Error("a certificate for nobody")
	}
}
