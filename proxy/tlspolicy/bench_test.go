package tlspolicy

import (
	"crypto"
	"crypto/tls"
	"testing"
)

// Full handshakes over loopback, both ends in this process.
func BenchmarkHandshake(b *testing.B) {
	for _, c := range []struct {
		name string
		key  func() crypto.Signer
	}{{"ECDSA", newECDSA}, {"RSA", rsa2048}} {
		ours := (*signed)(nil).issue(name, c.key())
		st := store(b, ours)
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			a := acceptor(b, ClientLeg{Store: st, Protocol: Protocol{Maximum: version}})
			d := dialer(b, ServerLeg{Roots: roots(b, ours)})
			b.Run(c.name+"/"+Version(version), func(b *testing.B) {
				for b.Loop() {
					d.mu.Lock()
					clear(d.configs) // with the sessions that could be resumed
					d.mu.Unlock()
					if m := meet(b, a.as(somebody), d.to(name)); !m.ok() {
						b.Fatal(m.server, m.client)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "handshakes/s")
			})
		}
	}
}

func BenchmarkConfig(b *testing.B) {
	a := acceptor(b, ClientLeg{Store: store(b, (*signed)(nil).issue(name, newECDSA())), Protocol: Protocol{Allow: []Allowance{
		{Weaknesses: BrokenRC4, Networks: mustNetworks("192.0.2.0/25", "2001:db8::/32")},
	}}})
	b.ReportAllocs()
	for b.Loop() {
		a.Config(somebody)
	}
}
