package tlspolicy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// oldWeakness is all that a device from before 2008 may need.
const oldWeakness = ObsoleteTLS10 | Broken3DES | RecordableRSAKeyExchange | ForgeableSHA1Certificates | BreakableShortRSA

func TestAnOldClientIsServedFromItsNetworkAndRefusedFromAnother(t *testing.T) {
	ca := (*signed)(nil).issue("Old CA", rsa1024(), isAuthority, bySHA1)
	weak := ca.issue("mail.example.com", rsa1024(), bySHA1)
	a := acceptor(t, ClientLeg{
		Store: store(t, weak, (*signed)(nil).issue("mail.example.com", newECDSA())),
		Protocol: Protocol{Allow: []Allowance{
			{Weaknesses: oldWeakness, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/25")}},
		}},
	})
	old := plainClient(&tls.Config{
		InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10,
		CipherSuites: []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA},
	})
	m := meet(t, a.as(netip.MustParseAddr("192.0.2.9")), old)
	if !m.ok() || m.state.CipherSuite != tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA || !m.state.PeerCertificates[0].Equal(weak.cert) {
		t.Fatalf("inside: %v, %v", m.server, m.client)
	}
	m = meet(t, a.as(netip.MustParseAddr("192.0.2.200")), old)
	explained(t, m.server, "version", "TLS 1.0 at most", "TLS 1.2 to 1.3", "obsolete-tls-1.0", "broken-3des", "recordable-rsa-key-exchange")
	explained(t, m.client, "version")

	modern := meet(t, a.as(netip.MustParseAddr("192.0.2.9")), plainClient(&tls.Config{InsecureSkipVerify: true}))
	if !modern.ok() || modern.state.Version != tls.VersionTLS13 || modern.state.PeerCertificates[0].Equal(weak.cert) {
		t.Errorf("a modern client of the same network gets less than the best: %v, %v", modern.server, modern.client)
	}
}

// policies are tried with all suites in all versions, on both legs.
var policies = []struct {
	name string
	p    func(testing.TB) Protocol
	want func(s suite, version uint16) bool
}{
	{"modern", func(testing.TB) Protocol { return Protocol{} },
		func(s suite, v uint16) bool { return v == tls.VersionTLS12 && s.aead && s.weak == 0 }},
	{"legacy", func(t testing.TB) Protocol { return Protocol{Ciphers: ciphers(t, "legacy")} },
		func(s suite, v uint16) bool { return v == tls.VersionTLS12 && s.weak == 0 }},
	{"modern with 3DES and RSA", func(testing.TB) Protocol { return allow(Broken3DES | RecordableRSAKeyExchange) },
		func(s suite, v uint16) bool {
			return v == tls.VersionTLS12 && (s.aead && s.weak == 0 || s.weak != 0 && s.weak&^(Broken3DES|RecordableRSAKeyExchange) == 0)
		}},
	{"modern with 3DES", func(testing.TB) Protocol { return allow(Broken3DES) },
		func(s suite, v uint16) bool {
			return v == tls.VersionTLS12 && (s.aead && s.weak == 0 || s.weak == Broken3DES)
		}},
	{"modern with TLS 1.1", func(testing.TB) Protocol { return allow(ObsoleteTLS11) },
		func(s suite, v uint16) bool { return v >= tls.VersionTLS11 && s.weak == 0 }},
	{"a list", func(t testing.TB) Protocol {
		return Protocol{Ciphers: ciphers(t, "TLS_RSA_WITH_RC4_128_SHA", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
			Allow: allow(ObsoleteTLS10 | BrokenRC4 | RecordableRSAKeyExchange | LeakyCBCSHA256).Allow}
	}, func(s suite, v uint16) bool {
		return s.id == tls.TLS_RSA_WITH_RC4_128_SHA || s.id == tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
	}},
	{"everything", func(testing.TB) Protocol { return allow(ofProtocol) },
		func(s suite, v uint16) bool { return true }},
}

// everySuite calls f for each suite in each version that has it.
func everySuite(f func(s suite, version uint16, what string)) {
	for _, s := range suiteTable() {
		for _, v := range versions {
			if !s.tls13 && v.id >= s.since && v.id < tls.VersionTLS13 {
				f(s, v.id, s.name+" in "+v.name)
			}
		}
	}
}

// only is a peer that can do one suite in one version and nothing else.
func only(s suite, version uint16) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, CipherSuites: []uint16{s.id}}
}

func TestAnAcceptorNegotiatesExactlyWhatIsAllowed(t *testing.T) {
	st := store(t, (*signed)(nil).issue("mail.example.com", rsa2048()), (*signed)(nil).issue("mail.example.com", newECDSA()))
	for _, policy := range policies {
		a := acceptor(t, ClientLeg{Store: st, Protocol: policy.p(t)})
		everySuite(func(s suite, version uint16, what string) {
			m := meet(t, a.as(somebody), plainClient(only(s, version)))
			if want := policy.want(s, version); m.ok() != want {
				t.Errorf("%s: %s: %t, want %t: %v", policy.name, what, m.ok(), want, m.server)
			} else if !want {
				if reason, text := Explain(m.server); reason != "version" && reason != "cipher" || !strings.Contains(text, s.name) && reason == "cipher" {
					t.Errorf("%s: %s: %s: %s", policy.name, what, reason, text)
				}
			}
		})
	}
}

func TestTheAdviceIsTheFewestWeaknesses(t *testing.T) {
	a := acceptor(t, ClientLeg{Store: store(t, (*signed)(nil).issue("mail.example.com", rsa2048()))})
	m := meet(t, a.as(somebody), plainClient(&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
		CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA}}))
	explained(t, m.server, "cipher", "would need recordable-rsa-key-exchange allowed", "TLS_RSA_WITH_RC4_128_SHA")
	if _, text := Explain(m.server); strings.Contains(text, BrokenRC4.String()) {
		t.Errorf("more is advised than is needed: %s", text)
	}
	explained(t, m.client, "cipher")

	// What is allowed already is not advised again.
	a = acceptor(t, ClientLeg{Protocol: allow(ObsoleteTLS10), Store: store(t, (*signed)(nil).issue("mail.example.com", rsa2048()))})
	m = meet(t, a.as(somebody), plainClient(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10,
		CipherSuites: []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}}))
	explained(t, m.server, "cipher", "would need broken-3des, recordable-rsa-key-exchange allowed")
}

func TestWhoMayUseNoneOfAListIsLeftWithTLS13(t *testing.T) {
	inside := Allowance{Weaknesses: RecordableRSAKeyExchange, Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}
	a := acceptor(t, ClientLeg{
		Store:    store(t, (*signed)(nil).issue("mail.example.com", rsa2048())),
		Protocol: Protocol{Ciphers: ciphers(t, "TLS_RSA_WITH_AES_128_GCM_SHA256"), Allow: []Allowance{inside}},
	})
	m := meet(t, a.as(somebody), plainClient(&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}))
	explained(t, m.server, "version", "it may use TLS 1.3")
	if m := meet(t, a.as(somebody), plainClient(&tls.Config{InsecureSkipVerify: true})); !m.ok() {
		t.Error(m.server, m.client)
	}
}

func TestSuitesGoDoesNotHaveAreCalledByName(t *testing.T) {
	text := list([]uint16{0x0039, 0x0004, 0x00FF, 0x5600, 0x1A1A, tls.TLS_RSA_WITH_RC4_128_SHA})
	if text != "TLS_DHE_RSA_WITH_AES_256_CBC_SHA, TLS_RSA_WITH_RC4_128_MD5, TLS_RSA_WITH_RC4_128_SHA" {
		t.Error(text)
	}
	a := acceptor(t, ClientLeg{Store: store(t, (*signed)(nil).issue("mail.example.com", rsa2048()))})
	err := a.explain(fmt.Errorf("refused"), offer{hello: true, versions: []uint16{tls.VersionTLS12}, suites: []uint16{0x0039}}, somebody)
	explained(t, err, "cipher", "TLS_DHE_RSA_WITH_AES_256_CBC_SHA", "in front")
	err = a.explain(fmt.Errorf("refused"), offer{hello: true, suites: []uint16{0x0004}}, somebody)
	explained(t, err, "version", "SSL 3.0", "in front")
}

func TestATicketIsWorthNothingElsewhere(t *testing.T) {
	st := store(t, (*signed)(nil).issue("mail.example.com", newECDSA()))
	inside := netip.MustParsePrefix("192.0.2.0/25")
	leg := ClientLeg{Store: st, Protocol: Protocol{Allow: []Allowance{{Weaknesses: BrokenRC4, Networks: []netip.Prefix{inside}}}}}
	a, b := acceptor(t, leg), acceptor(t, leg)
	if a.Config(somebody) != a.Config(netip.MustParseAddr("192.0.2.2")) {
		t.Error("clients that are allowed the same do not share a configuration")
	}
	for _, c := range []struct {
		name    string
		second  end
		resumed bool
	}{
		{"the same", a.as(somebody), true},
		{"other allowances", a.as(netip.MustParseAddr("198.51.100.1")), false},
		{"another route", b.as(somebody), false},
	} {
		cache := tls.NewLRUClientSessionCache(1)
		client := plainClient(&tls.Config{InsecureSkipVerify: true, ServerName: "mail.example.com", ClientSessionCache: cache})
		if m := meet(t, a.as(somebody), client); !m.ok() || m.state.DidResume {
			t.Fatal(m.server, m.client)
		}
		if m := meet(t, c.second, client); !m.ok() || m.state.DidResume != c.resumed {
			t.Errorf("%s: resumed is %t, want %t: %v", c.name, m.state.DidResume, c.resumed, m.server)
		}
	}
}

func TestCertificatesOfClients(t *testing.T) {
	ca := (*signed)(nil).issue("Example CA", newECDSA(), isAuthority)
	other := (*signed)(nil).issue("Other CA", newECDSA(), isAuthority)
	good := ca.issue("client.example.com", newECDSA()).tls()
	strange := other.issue("client.example.com", newECDSA()).tls()
	st := store(t, (*signed)(nil).issue("mail.example.com", newECDSA()))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, c := range []struct {
			name     string
			required bool
			shown    *tls.Certificate
			reason   string
		}{
			{"asked for, none", false, nil, ""},
			{"asked for, good", false, &good, ""},
			{"asked for, strange", false, &strange, "certificate-authority"},
			{"required, none", true, nil, "client-certificate"},
			{"required, good", true, &good, ""},
			{"required, strange", true, &strange, "certificate-authority"},
		} {
			a := acceptor(t, ClientLeg{Store: st, ClientRoots: roots(t, ca), RequireCertificate: c.required})
			cache := tls.NewLRUClientSessionCache(1)
			client := &tls.Config{InsecureSkipVerify: true, ServerName: "x", MaxVersion: version, ClientSessionCache: cache}
			client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if c.shown == nil {
					return &tls.Certificate{}, nil
				}
				return c.shown, nil
			}
			for _, time := range []string{"first", "resumed"} {
				m := meet(t, a.as(somebody), plainClient(client))
				if reason, text := Explain(m.server); reason != c.reason {
					t.Errorf("TLS %s, %s, %s: %q: %s", Version(version), c.name, time, reason, text)
				}
			}
		}
	}
}

func TestAnAcceptorSaysWhatItLacks(t *testing.T) {
	short := (*signed)(nil).issue("mail.example.com", rsa1024())
	for _, c := range []struct {
		name     string
		leg      ClientLeg
		settings []string
	}{
		{"no certificate", ClientLeg{}, []string{"certificate"}},
		{"only a weak certificate", ClientLeg{Store: store(t, short)}, []string{"certificate"}},
		{"required without an authority", ClientLeg{Store: store(t, short), Protocol: allow(BreakableShortRSA), RequireCertificate: true}, []string{"client_ca"}},
		{"any name", ClientLeg{Store: store(t, short), Protocol: allow(BreakableShortRSA | AnyName)}, []string{"allow"}},
	} {
		_, err := NewAcceptor(c.leg)
		if got := settings(err); !slices.Equal(got, c.settings) {
			t.Errorf("%s: %v: %v", c.name, got, err)
		}
	}
	inside := Allowance{Weaknesses: BreakableShortRSA, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/25")}}
	a := acceptor(t, ClientLeg{Store: store(t, short), Protocol: Protocol{Allow: []Allowance{inside}}})
	m := meet(t, a.as(netip.MustParseAddr("198.51.100.1")), plainClient(&tls.Config{InsecureSkipVerify: true}))
	explained(t, m.server, "certificate-weak", "breakable-short-rsa")
}

// helloOf is a hello of TLS 1.2 that offers ECDHE and RSA key exchange and
// knows these signatures (RFC 5246, 7.4.1).
func helloOf(schemes ...byte) []byte {
	extensions := slices.Concat(
		[]byte{0, 10, 0, 4, 0, 2, 0, 23},                                         // supported_groups: P-256
		[]byte{0, 11, 0, 2, 1, 0},                                                // ec_point_formats: uncompressed
		[]byte{0, 13, 0, byte(len(schemes) + 2), 0, byte(len(schemes))}, schemes, // signature_algorithms
	)
	body := slices.Concat([]byte{3, 3}, make([]byte, 32), []byte{0, 0, 4, 0xC0, 0x13, 0x00, 0x2F, 1, 0, 0, byte(len(extensions))}, extensions)
	message := append([]byte{1, 0, 0, byte(len(body))}, body...)
	return append([]byte{22, 3, 1, 0, byte(len(message))}, message...)
}

func TestAClientThatKnowsNoSignatureOfOursGetsKeyExchangeByRSA(t *testing.T) {
	st := store(t, (*signed)(nil).issue("mail.example.com", rsa2048()))
	legacy := Protocol{Ciphers: ciphers(t, "legacy")}
	allowed := legacy
	allowed.Allow = allow(RecordableRSAKeyExchange).Allow
	for _, c := range []struct {
		name    string
		p       Protocol
		schemes []byte
		suite   uint16
	}{
		{"SHA-256", allowed, []byte{4, 1, 2, 1}, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA},
		{"SHA-1", allowed, []byte{2, 1}, tls.TLS_RSA_WITH_AES_128_CBC_SHA},
		{"SHA-1, not allowed", legacy, []byte{2, 1}, 0},
	} {
		us, peer := connect(t)
		go peer.Write(helloOf(c.schemes...))
		chosen := make(chan uint16)
		go func() {
			answer := make([]byte, 5+4+2+32+1+2) // to the suite of a ServerHello, whose session ID is empty
			n, _ := io.ReadFull(peer, answer)
			peer.Close()
			if n < len(answer) {
				chosen <- 0
			} else {
				chosen <- uint16(answer[n-2])<<8 | uint16(answer[n-1])
			}
		}()
		_, err := acceptor(t, ClientLeg{Store: st, Protocol: c.p}).Handshake(context.Background(), us, somebody)
		us.Close()
		if suite := <-chosen; c.suite != 0 && suite != c.suite {
			t.Errorf("%s: %s: %v", c.name, Suite(suite), err)
		}
		if c.suite == 0 {
			explained(t, err, "cipher", "would need recordable-rsa-key-exchange allowed")
		}
	}
}
