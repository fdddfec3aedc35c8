package tlspolicy

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"testing"
	"time"
)

const name = "mail.example.com"

// show is a server with this certificate.
func show(s *signed) end {
	return plainServer(&tls.Config{Certificates: []tls.Certificate{s.tls()}})
}

func TestAServerIsVerifiedAndWhatIsWrongIsSaid(t *testing.T) {
	now := time.Now()
	day := func(n int) time.Time { return now.AddDate(0, 0, n) }
	ca := (*signed)(nil).issue("Example CA", newECDSA(), isAuthority)
	middle := ca.issue("Example Intermediate", newECDSA(), isAuthority)
	strange := (*signed)(nil).issue("Strange CA", newECDSA(), isAuthority)
	noCA := ca.issue("no-authority.example.com", newECDSA())
	narrow := ca.issue("Narrow CA", newECDSA(), isAuthority, func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"example.org"}, true
	})
	for _, c := range []struct {
		name     string
		shown    *signed
		reason   string
		mentions []string
	}{
		{"good", ca.issue(name, newECDSA()), "", nil},
		{"good, through an intermediate", middle.issue(name, newECDSA()).with(middle), "", nil},
		{"intermediate missing", middle.issue(name, newECDSA()), "certificate-authority", []string{"Example Intermediate", "ca.pem"}},
		{"unknown authority", strange.issue(name, newECDSA()), "certificate-authority", []string{"Strange CA", "ca.pem"}},
		{"self-signed", (*signed)(nil).issue(name, newECDSA()), "certificate-authority", []string{"signed by itself", "pin", "SHA-256"}},
		{"wrong name", ca.issue("www.example.net", newECDSA()), "certificate-name", []string{`"www.example.net"`, `"mail.example.com"`, "Example CA"}},
		{"no name", ca.issue(name, newECDSA(), func(c *x509.Certificate) { c.DNSNames = nil }), "certificate-name", []string{"no host name", "CN=mail.example.com", "any-name-in-certificates"}},
		{"expired", ca.issue(name, newECDSA(), valid(longAgo, day(-3))), "certificate-expired", []string{day(-3).UTC().Format(time.DateOnly), now.Format(time.DateOnly)}},
		{"not yet valid", ca.issue(name, newECDSA(), valid(day(3), farOff)), "certificate-not-yet-valid", []string{day(3).UTC().Format(time.DateOnly), now.Format(time.DateOnly)}},
		{"short key", ca.issue(name, rsa1024()), "certificate-weak", []string{"RSA 1024", "breakable-short-rsa"}},
		{"signed by what is no authority", noCA.issue(name, newECDSA()).with(noCA), "certificate-authority", nil},
		{"name outside the authority's", narrow.issue(name, newECDSA()).with(narrow), "certificate-authority", nil},
		{"for clients only", ca.issue(name, newECDSA(), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), "certificate-authority", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := dialer(t, ServerLeg{Roots: roots(t, ca)})
			m := meet(t, show(c.shown), d.to(name))
			explained(t, m.client, c.reason, c.mentions...)
			if c.reason != "" {
				explained(t, m.server, "certificate-refused")
			}
		})
	}
}

func TestOneWeaknessAllowedLeavesAllElseChecked(t *testing.T) {
	past := time.Now().AddDate(0, 0, -3)
	ca := (*signed)(nil).issue("Example CA", rsa2048(), isAuthority)
	strange := (*signed)(nil).issue("Example CA", newECDSA(), isAuthority)
	for _, c := range []struct {
		name    string
		allowed Weaknesses
		shown   *signed
		reason  string
	}{
		{"expired", ExpiredCertificates, ca.issue(name, newECDSA(), valid(longAgo, past)), ""},
		{"expired, of others", ExpiredCertificates, ca.issue("www.example.net", newECDSA(), valid(longAgo, past)), "certificate-name"},
		{"expired, by a stranger", ExpiredCertificates, strange.issue(name, newECDSA(), valid(longAgo, past)), "certificate-authority"},
		{"not yet valid", ExpiredCertificates, ca.issue(name, newECDSA(), valid(time.Now().AddDate(0, 0, 3), farOff)), "certificate-not-yet-valid"},
		{"any name", AnyName, ca.issue("www.example.net", newECDSA()), ""},
		{"any name, by a stranger", AnyName, strange.issue("www.example.net", newECDSA()), "certificate-authority"},
		{"any name, expired", AnyName, ca.issue("www.example.net", newECDSA(), valid(longAgo, past)), "certificate-expired"},
		{"short key", BreakableShortRSA, ca.issue(name, rsa1024()), ""},
		{"short key, of others", BreakableShortRSA, ca.issue("www.example.net", rsa1024()), "certificate-name"},
		{"short key, SHA-1", BreakableShortRSA, ca.issue(name, rsa1024(), bySHA1), "certificate-weak"},
		{"SHA-1, short key", ForgeableSHA1Certificates, ca.issue(name, rsa1024(), bySHA1), "certificate-weak"},
		{"SHA-1, expired", ForgeableSHA1Certificates, ca.issue(name, newECDSA(), bySHA1, valid(longAgo, past)), "certificate-expired"},
		{"SHA-1, of others", ForgeableSHA1Certificates, ca.issue("www.example.net", newECDSA(), bySHA1), "certificate-name"},
		{"all of it", ofCertificates, ca.issue("www.example.net", rsa1024(), bySHA1, valid(longAgo, past)), ""},
	} {
		d := dialer(t, ServerLeg{Roots: roots(t, ca), Protocol: allow(c.allowed)})
		m := meet(t, show(c.shown), d.to(name))
		if reason, text := Explain(m.client); reason != c.reason {
			t.Errorf("%s: %q, want %q: %s", c.name, reason, c.reason, text)
		}
	}
}

func TestSHA1ChainsAreVerifiedWhereAllowedAndOnlyThere(t *testing.T) {
	now := time.Now()
	ca := (*signed)(nil).issue("Example CA", rsa2048(), isAuthority, bySHA1)
	ecCA := (*signed)(nil).issue("Example EC CA", newECDSA(), isAuthority)
	middle := ca.issue("Example Intermediate", newECDSA(), isAuthority, bySHA1)
	good := ca.issue("Good Intermediate", rsa2048(), isAuthority)
	last := ca.issue("Last Intermediate", newECDSA(), isAuthority, bySHA1, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	below := last.issue("Below The Last", newECDSA(), isAuthority)
	noCA := ca.issue("no-authority.example.com", newECDSA(), bySHA1)
	oldMiddle := ca.issue("Expired Intermediate", newECDSA(), isAuthority, bySHA1, valid(longAgo, now.AddDate(0, 0, -1)))
	narrow := ca.issue("Narrow CA", newECDSA(), isAuthority, bySHA1, func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"example.org"}, true
	})
	forger := (*signed)(nil).issue("Example CA", must(newRSA()), isAuthority) // same name, another key
	pretender := forger.issue("Example CA", newECDSA(), bySHA1, func(c *x509.Certificate) { c.DNSNames = []string{name} })
	trusted := roots(t, ca, ecCA)
	for _, c := range []struct {
		name   string
		shown  *signed
		reason string
		loose  string // with SHA-1 allowed
	}{
		{"leaf below the root", ca.issue(name, newECDSA(), bySHA1), "certificate-weak", ""},
		{"leaf below the root, which is shown", ca.issue(name, newECDSA(), bySHA1).with(ca), "certificate-weak", ""},
		{"leaf by ECDSA", ecCA.issue(name, newECDSA(), bySHA1ECDSA), "certificate-weak", ""},
		{"leaf below a good intermediate", good.issue(name, newECDSA(), bySHA1).with(good), "certificate-weak", ""},
		{"intermediate", middle.issue(name, newECDSA()).with(middle), "certificate-weak", ""},
		{"intermediate and leaf", middle.issue(name, newECDSA(), bySHA1ECDSA).with(middle), "certificate-weak", ""},
		{"names itself its issuer", ca.issue("Example CA", newECDSA(), bySHA1, func(c *x509.Certificate) { c.DNSNames = []string{name} }), "certificate-weak", ""},
		{"forged", forger.issue(name, newECDSA(), bySHA1), "certificate-authority", "certificate-authority"},
		{"forged, its maker shown", forger.issue(name, newECDSA(), bySHA1).with(forger), "certificate-authority", "certificate-authority"},
		{"forged, names itself its issuer", pretender, "certificate-authority", "certificate-authority"},
		{"changed after it was signed", tampered(ca.issue(name, rsa2048(), bySHA1)), "certificate-authority", "certificate-authority"},
		{"below what is no authority", noCA.issue(name, newECDSA(), bySHA1ECDSA).with(noCA), "certificate-authority", "certificate-authority"},
		{"path too long", below.issue(name, newECDSA()).with(below, last), "certificate-authority", "certificate-authority"},
		{"intermediate expired", oldMiddle.issue(name, newECDSA()).with(oldMiddle), "certificate-expired", "certificate-expired"},
		{"name outside the authority's", narrow.issue(name, newECDSA()).with(narrow), "certificate-authority", "certificate-authority"},
	} {
		strict := meet(t, show(c.shown), dialer(t, ServerLeg{Roots: trusted}).to(name))
		if reason, text := Explain(strict.client); reason != c.reason {
			t.Errorf("%s: %q, want %q: %s", c.name, reason, c.reason, text)
		}
		loose := meet(t, show(c.shown), dialer(t, ServerLeg{Roots: trusted, Protocol: allow(ForgeableSHA1Certificates)}).to(name))
		if reason, text := Explain(loose.client); reason != c.loose {
			t.Errorf("%s, SHA-1 allowed: %q, want %q: %s", c.name, reason, c.loose, text)
		}
	}
}

// tampered is a certificate with a bit of its signature turned over.
func tampered(s *signed) *signed {
	der := slices.Clone(s.cert.Raw)
	der[len(der)-1] ^= 1
	c := *s
	c.cert = must(x509.ParseCertificate(der))
	return &c
}

func TestAPinReplacesAuthorityAndNameAndDate(t *testing.T) {
	pinned := (*signed)(nil).issue("old.example.net", newECDSA(), valid(longAgo, time.Now().AddDate(0, 0, -3)))
	other := (*signed)(nil).issue(name, newECDSA())
	short := (*signed)(nil).issue(name, rsa1024())
	leg := ServerLeg{Pins: []Pin{fingerprint(pinned.cert), fingerprint(short.cert)}}
	if m := meet(t, show(pinned), dialer(t, leg).to(name)); !m.ok() {
		t.Errorf("the pinned one: %v", m.client)
	}
	m := meet(t, show(other), dialer(t, leg).to(name))
	explained(t, m.client, "pin", fingerprint(other.cert).String(), fingerprint(pinned.cert).String())
	m = meet(t, show(short), dialer(t, leg).to(name))
	explained(t, m.client, "certificate-weak", "breakable-short-rsa")
	leg.Protocol = allow(BreakableShortRSA)
	if m := meet(t, show(short), dialer(t, leg).to(name)); !m.ok() {
		t.Errorf("a pinned one with a short key that is allowed: %v", m.client)
	}
}

func TestFingerprintsAreReadWithColonsAndWithout(t *testing.T) {
	pin := fingerprint((*signed)(nil).issue(name, newECDSA()).cert)
	for _, text := range []string{pin.String(), colonless(pin)} {
		if got, err := ParsePin(text); got != pin || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "AB:CD", colonless(pin) + "00", "sha256/" + colonless(pin)} {
		if _, err := ParsePin(text); err == nil {
			t.Errorf("%q is taken for a fingerprint", text)
		}
	}
}

func TestAServerWhoseNameNobodyKnowsIsNotBelieved(t *testing.T) {
	ca := (*signed)(nil).issue("Example CA", newECDSA(), isAuthority)
	m := meet(t, show(ca.issue(name, newECDSA())), dialer(t, ServerLeg{Roots: roots(t, ca)}).to(""))
	explained(t, m.client, "certificate-name")
}
