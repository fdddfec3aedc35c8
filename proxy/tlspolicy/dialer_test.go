package tlspolicy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnOldServerIsReachedWhereAllowed(t *testing.T) {
	ca := (*signed)(nil).issue("Old CA", rsa1024(), isAuthority, bySHA1)
	weak := ca.issue(name, rsa1024(), bySHA1).tls()
	old := plainServer(&tls.Config{
		Certificates: []tls.Certificate{weak}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10,
		CipherSuites: []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA},
	})
	m := meet(t, old, dialer(t, ServerLeg{Roots: roots(t, ca), Protocol: allow(oldWeakness)}).to(name))
	if !m.ok() || m.state.CipherSuite != tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA {
		t.Errorf("allowed: %v, %v", m.server, m.client)
	}
	m = meet(t, old, dialer(t, ServerLeg{Roots: roots(t, ca)}).to(name))
	explained(t, m.client, "version", "TLS 1.2 to 1.3", "obsolete-tls-1.0")
	m = meet(t, old, dialer(t, ServerLeg{Roots: roots(t, ca), Protocol: allow(oldWeakness &^ Broken3DES)}).to(name))
	explained(t, m.client, "cipher", "TLS 1.0 to 1.3", "broken-3des")
	for _, w := range []Weaknesses{ForgeableSHA1Certificates, BreakableShortRSA} {
		m = meet(t, old, dialer(t, ServerLeg{Roots: roots(t, ca), Protocol: allow(oldWeakness &^ w)}).to(name))
		explained(t, m.client, "certificate-weak", w.String())
	}
}

func TestADialerNegotiatesExactlyWhatIsAllowed(t *testing.T) {
	certificates := []tls.Certificate{(*signed)(nil).issue(name, newECDSA()).tls(), (*signed)(nil).issue(name, rsa2048()).tls()}
	for _, policy := range policies {
		d := dialer(t, ServerLeg{Verification: Unverified, Protocol: policy.p(t)})
		everySuite(func(s suite, version uint16, what string) {
			server := only(s, version)
			server.Certificates = certificates
			m := meet(t, plainServer(server), d.to(name))
			if want := policy.want(s, version); m.ok() != want {
				t.Errorf("%s: %s: %t, want %t: %v", policy.name, what, m.ok(), want, m.client)
			}
		})
	}
}

func TestOpportunisticTLSTakesWhatThereIs(t *testing.T) {
	d := dialer(t, ServerLeg{Verification: Opportunistic})
	bounded := dialer(t, ServerLeg{Verification: Opportunistic, Protocol: Protocol{Minimum: tls.VersionTLS12, Ciphers: ciphers(t, "modern")}})
	past := valid(longAgo, longAgo.AddDate(1, 0, 0))
	strangers := []tls.Certificate{(*signed)(nil).issue(name, newECDSA(), past).tls(), (*signed)(nil).issue(name, rsa1024(), past).tls()}
	everySuite(func(s suite, version uint16, what string) {
		server := only(s, version)
		server.Certificates = strangers
		if m := meet(t, plainServer(server), d.to(name)); !m.ok() {
			t.Errorf("%s: %v", what, m.client)
		}
		want := version == tls.VersionTLS12 && s.aead && s.weak == 0
		if m := meet(t, plainServer(server), bounded.to(name)); m.ok() != want {
			t.Errorf("%s, bounded: %t, want %t: %v", what, m.ok(), want, m.client)
		}
	})
	m := meet(t, plainServer(&tls.Config{Certificates: strangers}), d.to(name))
	if !m.ok() || m.state.Version != tls.VersionTLS13 {
		t.Errorf("a modern server is spoken to in %s: %v", Version(m.state.Version), m.client)
	}
}

// firstWrite keeps the first octets written.
type firstWrite struct {
	net.Conn
	n int
}

func (c *firstWrite) Write(b []byte) (int, error) {
	if c.n == 0 {
		c.n = len(b)
	}
	return c.Conn.Write(b)
}

func TestTheHelloIsShortWhereOldServersAreExpected(t *testing.T) {
	for _, c := range []struct {
		leg   ServerLeg
		short bool
	}{
		{ServerLeg{}, false},
		{ServerLeg{Verification: Opportunistic}, true},
		{ServerLeg{Protocol: allow(ObsoleteTLS10)}, true},
		{ServerLeg{Protocol: allow(AnyName)}, false},
	} {
		server, client := connect(t)
		server.Close()
		w := &firstWrite{Conn: client}
		if _, err := dialer(t, c.leg).Handshake(context.Background(), w, name); err == nil || w.n == 0 {
			t.Fatal("a handshake with nobody:", w.n, err)
		}
		if short := w.n < 512; short != c.short {
			t.Errorf("%+v: %d octets", c.leg, w.n)
		}
	}
}

func TestSessionsAreResumedWithTheSameServerOnly(t *testing.T) {
	ca := (*signed)(nil).issue("Example CA", newECDSA(), isAuthority)
	server := plainServer(&tls.Config{Certificates: []tls.Certificate{ca.issue(name, newECDSA()).tls()}})
	d := dialer(t, ServerLeg{Roots: roots(t, ca), ServerName: name})
	for i, c := range []struct {
		server  string
		resumed bool
	}{{"192.0.2.1", false}, {"192.0.2.1", true}, {"192.0.2.2", false}} {
		if m := meet(t, server, d.to(c.server)); !m.ok() || m.state.DidResume != c.resumed {
			t.Errorf("%d: %s: resumed is %t: %v", i, c.server, m.state.DidResume, m.client)
		}
	}
	for i := range manyServers + 10 {
		d.Config(fmt.Sprint(i))
	}
	if len(d.configs) > manyServers {
		t.Errorf("%d configurations are kept", len(d.configs))
	}
}

func TestAWeakServerIsResumedNoLongerThanAllowed(t *testing.T) {
	ca := (*signed)(nil).issue("Example CA", newECDSA(), isAuthority)
	server := plainServer(&tls.Config{Certificates: []tls.Certificate{ca.issue("www.example.net", newECDSA()).tls()}})
	trusted := roots(t, ca)
	synctest.Test(t, func(t *testing.T) {
		d := dialer(t, ServerLeg{Roots: trusted, Protocol: Protocol{Allow: []Allowance{
			{Weaknesses: AnyName, Until: time.Now().Add(time.Hour), RefuseAfter: true},
		}}})
		for _, resumed := range []bool{false, true} {
			if m := meet(t, server, d.to(name)); !m.ok() || m.state.DidResume != resumed {
				t.Fatalf("resumed is %t: %v", m.state.DidResume, m.client)
			}
		}
		<-time.After(time.Hour)
		explained(t, meet(t, server, d.to(name)).client, "certificate-name")
	})
}

func TestOurCertificateIsShownToServersThatAsk(t *testing.T) {
	ca := (*signed)(nil).issue("Example CA", newECDSA(), isAuthority)
	ours := ca.issue("client.example.com", newECDSA())
	a := acceptor(t, ClientLeg{Store: store(t, ca.issue(name, newECDSA())), ClientRoots: roots(t, ca), RequireCertificate: true})
	if m := meet(t, a.as(somebody), dialer(t, ServerLeg{Roots: roots(t, ca), Store: store(t, ours)}).to(name)); !m.ok() {
		t.Errorf("with a certificate: %v, %v", m.server, m.client)
	}
	m := meet(t, a.as(somebody), dialer(t, ServerLeg{Roots: roots(t, ca)}).to(name))
	explained(t, m.server, "client-certificate")
	// With TLS 1.3 the client hears of it only when it reads.
	explained(t, m.client, "certificate-refused")
	m = meet(t, a.as(somebody), dialer(t, ServerLeg{Roots: roots(t, ca), Protocol: Protocol{Maximum: tls.VersionTLS12}}).to(name))
	explained(t, m.client, "client-certificate")
}

func TestADialerSaysWhatContradictsItself(t *testing.T) {
	ca := roots(t, (*signed)(nil).issue("Example CA", newECDSA(), isAuthority))
	network := Allowance{Weaknesses: BrokenRC4, Networks: mustNetworks("192.0.2.0/24")}
	for _, c := range []struct {
		name     string
		leg      ServerLeg
		settings []string
	}{
		{"networks", ServerLeg{Protocol: Protocol{Allow: []Allowance{network}}}, []string{"allow"}},
		{"opportunistic and allowed", ServerLeg{Verification: Opportunistic, Protocol: allow(BrokenRC4)}, []string{"allow"}},
		{"unverified and a weak certificate", ServerLeg{Verification: Unverified, Protocol: allow(AnyName)}, []string{"allow"}},
		{"pinned and any name", ServerLeg{Pins: []Pin{{}}, Protocol: allow(AnyName)}, []string{"allow"}},
		{"unverified and pinned", ServerLeg{Verification: Unverified, Pins: []Pin{{}}}, []string{"pins"}},
		{"pinned and an authority", ServerLeg{Pins: []Pin{{}}, Roots: ca}, []string{"ca"}},
		{"unverified and an authority", ServerLeg{Verification: Unverified, Roots: ca}, []string{"ca"}},
		{"several", ServerLeg{Verification: Unverified, Roots: ca, Protocol: Protocol{Minimum: tls.VersionTLS10}}, []string{"ca", "minimum"}},
	} {
		_, err := NewDialer(c.leg)
		if got := settings(err); !slices.Equal(got, c.settings) {
			t.Errorf("%s: %v: %v", c.name, got, err)
		}
	}
}

func TestWhatIsNotVerifiedIsWarnedOf(t *testing.T) {
	now := time.Now()
	old := (*signed)(nil).issue("Old CA", newECDSA(), isAuthority, valid(longAgo, now.Add(-time.Hour)))
	for _, c := range []struct {
		leg      ServerLeg
		mentions string
	}{
		{ServerLeg{}, ""},
		{ServerLeg{Verification: Opportunistic}, ""},
		{ServerLeg{Verification: Unverified}, "not verified"},
		{ServerLeg{Roots: roots(t, old)}, "Old CA"},
		{ServerLeg{Store: store(t, (*signed)(nil).issue(name, newECDSA(), valid(longAgo, now.Add(time.Hour))))}, "less than a day"},
	} {
		texts := dialer(t, c.leg).Warnings(now)
		if c.mentions == "" && len(texts) > 0 || c.mentions != "" && (len(texts) != 1 || !strings.Contains(texts[0], c.mentions)) {
			t.Errorf("%q: %q", c.mentions, texts)
		}
	}
}

func TestWhatAPeerSendsInsteadOfAHandshakeIsSaid(t *testing.T) {
	a := acceptor(t, ClientLeg{Store: store(t, (*signed)(nil).issue(name, newECDSA()))})
	d := dialer(t, ServerLeg{Roots: roots(t, (*signed)(nil).issue("Example CA", newECDSA(), isAuthority))})
	for _, c := range []struct {
		sent, reason, mentions string
		us                     end
	}{
		{"EHLO mail.example.com\r\n", "garbage", `goes on in clear, "EHLO "`, a.as(somebody)},
		{"454 4.7.0 TLS not available\r\n", "garbage", `answered in clear, "454 4"`, d.to(name)},
		{"\x7f\x00\x01\x02\x03\x04", "garbage", "does not speak TLS", a.as(somebody)},
		{"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", "version", "SSL 2.0", a.as(somebody)},
		{"\x15\x03\x01\x00\x02\x02\x46", "version", "alert 70", d.to(name)},
		{"\x15\x03\x01\x00\x02\x02\x28", "cipher", "alert 40", d.to(name)},
		{"\x15\x03\x01\x00\x02\x02\x31", "client-certificate", "alert 49", d.to(name)},
		{"", "closed", "the server hung up", d.to(name)},
		{"", "closed", "the client hung up", a.as(somebody)},
	} {
		us, peer := net.Pipe()
		go func() {
			if strings.HasPrefix(c.mentions, "the server") || !strings.HasPrefix(c.reason, "closed") {
				go peer.Read(make([]byte, 4096))
			}
			peer.Write([]byte(c.sent))
			if c.reason == "closed" {
				peer.Close()
			}
		}()
		_, err := c.us(us)
		explained(t, err, c.reason, c.mentions)
		us.Close()
		peer.Close()
	}
}

func TestAPeerThatIsSilentTimesOut(t *testing.T) {
	ours := store(t, (*signed)(nil).issue(name, newECDSA()))
	synctest.Test(t, func(t *testing.T) {
		a := acceptor(t, ClientLeg{Store: ours})
		us, peer := net.Pipe()
		defer peer.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_, err := a.Handshake(ctx, us, somebody)
		explained(t, err, "timeout")

		us, peer = net.Pipe()
		defer peer.Close()
		us.SetDeadline(time.Now().Add(time.Second))
		_, err = a.Handshake(context.Background(), us, somebody)
		explained(t, err, "timeout")
	})
}

func TestEveryReasonIsOfTheClosedSet(t *testing.T) {
	for n := range 256 {
		reason, text := Explain(&net.OpError{Op: "remote error", Err: tls.AlertError(n)})
		if !slices.Contains(Reasons(), reason) || !strings.Contains(text, fmt.Sprintf("alert %d", n)) {
			t.Errorf("alert %d: %q: %s", n, reason, text)
		}
	}
	for err, want := range map[error]string{
		nil:                             "",
		errors.New("new\x1b[2J\r\nlie"): "other",
		context.DeadlineExceeded:        "timeout",
		net.ErrClosed:                   "closed",
	} {
		reason, text := Explain(err)
		if reason != want || strings.ContainsAny(text, "\x1b\r\n") {
			t.Errorf("%v: %q: %q", err, reason, text)
		}
	}
}
