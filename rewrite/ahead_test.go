package rewrite_test

import (
	"testing"

	"smtpshim/rewrite"
)

// Where the route wants TLS, EHLO goes ahead of the client's HELO. A server that
// refuses the client's name in it (KB Q240832) offers STARTTLS to ours, and the
// client's own is mended once the server has refused it in HELO.
func TestANameThatIsRefusedAheadOfHELODoesNotCostTLS(t *testing.T) {
	for _, mode := range []rewrite.ServerTLS{rewrite.ServerTLSRequire, rewrite.ServerTLSOpportunistic} {
		k := talkUnder(t, &rewrite.Policy{Rules: standard(t), ServerTLS: mode})
		k.client("HELO sub2.", "EHLO sub2.", "")
		k.server("501 Invalid Address", "EHLO relay.example.com", "")
		k.server("250-mail.example.com|250 STARTTLS", "STARTTLS", "")
		k.d.Reply([]byte("220 ready\r\n"), false, false)
		k.d.ServerTLS()
		k.expect("the handshake", "HELO sub2.", "")
		k.server("501 Invalid Address", "HELO sub2", "")
		k.server("250 mail.example.com", "", "250 mail.example.com")
	}
}
