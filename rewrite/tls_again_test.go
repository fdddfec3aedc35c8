package rewrite_test

import (
	"testing"

	"smtpshim/rewrite"
)

// A handshake that may go better on a fresh connection is tried there once, before
// mail goes in clear or is refused.
func TestAHandshakeIsTriedAgainOnceOnAFreshConnection(t *testing.T) {
	const hello, offer = "EHLO client.example.net", "250-mail.example.com|250 STARTTLS"
	begin := func(t *testing.T, mode rewrite.ServerTLS) (*talk, memory) {
		m := memory{}
		k := after(t, m, &rewrite.Policy{ClientTLS: rewrite.ClientTLSHide, ServerTLS: mode})
		k.client(hello, hello, "")
		k.server(offer, "STARTTLS", "")
		k.server("220 go on", "", "")
		k.d.ServerTLSAgain()
		k.server("220 mail.example.com", hello, "")
		k.server(offer, "STARTTLS", "")
		k.server("220 go on", "", "")
		return k, m
	}
	t.Run("and goes well", func(t *testing.T) {
		k, m := begin(t, rewrite.ServerTLSRequire)
		k.d.ServerTLS()
		k.expect("the handshake", hello, "")
		k.server("250 mail.example.com", "", "250 mail.example.com")
		if _, failed := m["server_tls"]; failed {
			t.Errorf("remembered: %v", m)
		}
	})
	t.Run("and fails where TLS is required", func(t *testing.T) {
		k, _ := begin(t, rewrite.ServerTLSRequire)
		k.d.ServerTLSAgain()
		if k.d.Failure() != "tls" || !k.d.ServerGone() {
			t.Errorf("failure %q; want tls", k.d.Failure())
		}
	})
	t.Run("and fails where TLS is opportunistic", func(t *testing.T) {
		k, m := begin(t, rewrite.ServerTLSOpportunistic)
		k.d.ServerTLSAgain()
		k.server("220 mail.example.com", hello, "")
		k.server(offer, "", "250 mail.example.com")
		if _, failed := m["server_tls"]; !failed {
			t.Errorf("remembered: %v", m)
		}
	})
}
