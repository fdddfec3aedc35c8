package tlspolicy

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestEveryWeaknessIsKnownByItsName(t *testing.T) {
	list := AllWeaknesses().List()
	if len(list) != len(weaknessTable) {
		t.Fatalf("%d of %d weaknesses are listed", len(list), len(weaknessTable))
	}
	for _, w := range list {
		if got, err := ParseWeakness(w.String()); got != w || err != nil {
			t.Errorf("%s is read as %v, %v", w, got, err)
		}
		if w.Doc() == "" {
			t.Errorf("%s has no doc", w)
		}
	}
	_, err := ParseWeakness("rc4")
	for _, w := range list {
		if err == nil || !strings.Contains(err.Error(), w.String()) {
			t.Errorf("the error for an unknown name does not list %s: %v", w, err)
		}
	}
}

func TestWhatGoCannotDoIsSaidWhenItIsAskedFor(t *testing.T) {
	for _, version := range []string{"3.0", "ssl3", "SSLv3", "2.0", "sslv2"} {
		if _, err := ParseVersion(version); err == nil || !strings.Contains(err.Error(), "stunnel") {
			t.Errorf("version %q: %v", version, err)
		}
	}
	for _, suite := range []string{"TLS_RSA_WITH_RC4_128_MD5", "TLS_RSA_EXPORT_WITH_RC4_40_MD5", "TLS_RSA_WITH_DES_CBC_SHA",
		"TLS_DHE_RSA_WITH_AES_256_CBC_SHA", "TLS_DHE_DSS_WITH_3DES_EDE_CBC_SHA", "SSL_RSA_WITH_3DES_EDE_CBC_SHA"} {
		if _, err := ParseCiphers(suite); err == nil || !strings.Contains(err.Error(), "stunnel") {
			t.Errorf("suite %q: %v", suite, err)
		}
	}
	for _, weakness := range []string{"ssl3", "export", "dhe"} {
		if _, err := ParseWeakness(weakness); err == nil || !strings.Contains(err.Error(), "stunnel") {
			t.Errorf("weakness %q: %v", weakness, err)
		}
	}
}

func TestMistakesInSuitesAndVersionsAreExplained(t *testing.T) {
	for _, c := range []struct{ word, mentions string }{
		{"TLS_AES_128_GCM_SHA256", "1.3"},
		{"modern", "alone"},
		{"DES-CBC3-SHA", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"},
		{"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
	} {
		if _, err := ParseCiphers(c.word, c.word); err == nil || !strings.Contains(err.Error(), c.mentions) {
			t.Errorf("%q: %v does not mention %q", c.word, err, c.mentions)
		}
	}
	if _, err := ParseVersion("1.4"); err == nil || !strings.Contains(err.Error(), `"1.3"`) {
		t.Errorf("version 1.4: %v", err)
	}
}

// Others may be allowed TLS 1.0, which is why the minimum of all may be that.
func TestTLS11ThatIsAllowedForOnePeerBringsNoTLS10(t *testing.T) {
	for _, minimum := range []uint16{0, tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
		if got := (Protocol{Minimum: minimum}).terms(ObsoleteTLS11).minimum; got != tls.VersionTLS11 {
			t.Errorf("under a minimum of %#x it is %#x, want TLS 1.1", minimum, got)
		}
	}
}

func TestContradictionsAreFoundUnderTheirSetting(t *testing.T) {
	const tripleDES = "TLS_RSA_WITH_3DES_EDE_CBC_SHA"
	for _, c := range []struct {
		name     string
		p        Protocol
		settings []string
		mentions string
	}{
		{"minimum without its weakness", Protocol{Minimum: tls.VersionTLS10}, []string{"minimum"}, "obsolete-tls-1.0"},
		{"maximum without its weakness", Protocol{Maximum: tls.VersionTLS11}, []string{"maximum"}, "obsolete-tls-1.1"},
		{"minimum above maximum", Protocol{Minimum: tls.VersionTLS13, Maximum: tls.VersionTLS12}, []string{"minimum"}, "1.2"},
		{"suite with both weaknesses missing", Protocol{Ciphers: ciphers(t, tripleDES)}, []string{"ciphers"}, "broken-3des, recordable-rsa-key-exchange"},
		{"suite with one weakness missing", Protocol{Ciphers: ciphers(t, tripleDES), Allow: allow(Broken3DES).Allow}, []string{"ciphers"}, "recordable-rsa-key-exchange"},
		{"suites newer than the maximum", Protocol{Ciphers: ciphers(t, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), Maximum: tls.VersionTLS11, Allow: allow(ObsoleteTLS11).Allow}, []string{"ciphers"}, "1.1"},
	} {
		err := c.p.check()
		if got := settings(err); !slices.Equal(got, c.settings) || !strings.Contains(fmt.Sprint(err), c.mentions) {
			t.Errorf("%s: %v: %v", c.name, got, err)
		}
	}
	right := Protocol{Minimum: tls.VersionTLS10, Ciphers: ciphers(t, tripleDES), Allow: allow(ObsoleteTLS10 | Broken3DES | RecordableRSAKeyExchange).Allow}
	if err := right.check(); err != nil {
		t.Errorf("what is named is refused: %v", err)
	}
}

func TestNoSuiteThatGoCallsInsecureIsFreeOfWeakness(t *testing.T) {
	var names []string
	for _, s := range suiteTable() {
		names = append(names, s.name)
		if s.weak == unnamed {
			t.Errorf("%s has no weakness we have a name for", s.name)
		}
	}
	for _, c := range tls.InsecureCipherSuites() {
		i := slices.Index(names, c.Name)
		if i < 0 || suiteTable()[i].weak == 0 {
			t.Errorf("%s has no weakness", c.Name)
		}
	}
	if got := Suite(tls.TLS_RSA_WITH_RC4_128_SHA); got != "TLS_RSA_WITH_RC4_128_SHA" || Suite(0x0039) != "other" {
		t.Errorf("suites are named %q and %q", got, Suite(0x0039))
	}
	if Version(tls.VersionTLS12) != "1.2" || Version(0x0300) != "other" || !slices.Contains(Versions(), "other") || !slices.Contains(Suites(), "other") {
		t.Error("versions or suites are not named from closed sets")
	}
}

func TestAnAllowanceIsForItsNetworksAndUntilItsDay(t *testing.T) {
	network := netip.MustParsePrefix("192.0.2.0/24")
	end := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	before, after := end.Add(-time.Second), end
	warned := Allowance{Weaknesses: BrokenRC4, Networks: []netip.Prefix{network}, Until: end}
	refused := warned
	refused.RefuseAfter = true
	for _, c := range []struct {
		name   string
		a      Allowance
		client string
		now    time.Time
		want   Weaknesses
	}{
		{"inside, before", warned, "192.0.2.7", before, BrokenRC4},
		{"inside, as IPv6", warned, "::ffff:192.0.2.7", before, BrokenRC4},
		{"outside", warned, "198.51.100.7", before, 0},
		{"no address", warned, "", before, 0},
		{"inside, after, warned only", warned, "192.0.2.7", after, BrokenRC4},
		{"inside, before, refused after", refused, "192.0.2.7", before, BrokenRC4},
		{"inside, after, refused after", refused, "192.0.2.7", after, 0},
	} {
		client, _ := netip.ParseAddr(c.client)
		if got := (Protocol{Allow: []Allowance{c.a}}).active(client, c.now); got != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	if texts := (Protocol{Allow: []Allowance{warned, refused}}).warnings(after); len(texts) != 2 {
		t.Errorf("warnings after the day: %q", texts)
	}
	if texts := (Protocol{Allow: []Allowance{warned}}).warnings(end.Add(-10 * 24 * time.Hour)); len(texts) != 1 || !strings.Contains(texts[0], "10 days") {
		t.Errorf("warnings ten days before: %q", texts)
	}
	if texts := (Protocol{Allow: []Allowance{warned}}).warnings(end.Add(-60 * 24 * time.Hour)); len(texts) != 0 {
		t.Errorf("warnings two months before: %q", texts)
	}
}

func TestAnAllowanceEndsWhileWeRun(t *testing.T) {
	ours := (*signed)(nil).issue("mail.example.com", rsa2048())
	st := store(t, ours)
	synctest.Test(t, func(t *testing.T) {
		a := acceptor(t, ClientLeg{Store: st, Protocol: Protocol{Allow: []Allowance{
			{Weaknesses: ObsoleteTLS10, Until: time.Now().Add(24 * time.Hour), RefuseAfter: true},
		}}})
		old := plainClient(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10})
		if m := meet(t, a.as(somebody), old); !m.ok() {
			t.Fatalf("before its day: %v, %v", m.server, m.client)
		}
		<-time.After(24 * time.Hour)
		m := meet(t, a.as(somebody), old)
		explained(t, m.server, "version", "TLS 1.0", "TLS 1.2 to 1.3", "obsolete-tls-1.0", "not for this client now")
	})
}
