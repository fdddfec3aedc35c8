package rewrite_test

import (
	"testing"

	"smtpshim/rewrite"
)

// opportunistic begins a session in which the server offers these keywords in clear
// and inside TLS, which is begun by the client's EHLO.
func opportunistic(t *testing.T, p *rewrite.Policy, inClear, insideTLS, shown string) *talk {
	t.Helper()
	p.ServerTLS = rewrite.ServerTLSOpportunistic
	k := talkUnder(t, p)
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.server("250-mail.example.com|"+inClear, "STARTTLS", "")
	k.server("220 go ahead", "", "")
	k.d.ServerTLS()
	k.expect("server TLS", "EHLO client.example.net", "")
	k.server("250-mail.example.com|"+insideTLS, "", shown)
	return k
}

func TestAClientInClearIsShownTheLoginsThatTheServerOffersInClear(t *testing.T) {
	for _, c := range []struct{ inClear, insideTLS, shown string }{
		{"250 STARTTLS", "250-AUTH PLAIN LOGIN|250 SIZE", "250-mail.example.com|250 SIZE"},
		{"250 STARTTLS", "250-X-EXPS NTLM|250-XAUTH NTLM|250-AUTH=LOGIN|250 SIZE", "250-mail.example.com|250 SIZE"},
		{"250-AUTH LOGIN|250 STARTTLS", "250 AUTH LOGIN", "250-mail.example.com|250 AUTH LOGIN"},
		{"250-AUTH=LOGIN|250 STARTTLS", "250 auth login PLAIN", "250-mail.example.com|250 auth login"},
		{"250-AUTH NTLM|250-AUTH=NTLM|250 STARTTLS", "250-AUTH NTLM PLAIN|250 AUTH=NTLM PLAIN", "250-mail.example.com|250-AUTH NTLM|250 AUTH=NTLM"},
	} {
		k := opportunistic(t, &rewrite.Policy{}, c.inClear, c.insideTLS, c.shown)
		want := "auth-in-clear"
		if c.shown == "250-mail.example.com|"+c.insideTLS {
			want = ""
		}
		k.acted(want, "")
	}
}

func TestALoginThatTheServerOffersInsideTLSOnlyIsRefusedInEverySpelling(t *testing.T) {
	for _, line := range []string{"AUTH PLAIN AGEAYg==", "auth plain", " AUTH LOGIN", "AUTH=PLAIN", "AUTH\tNTLM", "XAUTH NTLM", "X-EXPS GSSAPI", "AUTH"} {
		for _, rules := range []*rewrite.Rules{nil, standard(t)} {
			k := opportunistic(t, &rewrite.Policy{Rules: rules}, "250 STARTTLS", "250-AUTH PLAIN NTLM|250 SIZE", "250-mail.example.com|250 SIZE")
			k.d.Command([]byte(line+"\r\n"), false)
			if code := k.codes[len(k.codes)-1]; code != 538 || len(k.d.ToServer) > 0 {
				t.Errorf("%q: the client got %d, the server %q", line, code, k.d.ToServer)
			}
		}
	}
}

// Exchange 5.5 takes NTLM without listing it (KB Q262945).
func TestALoginThatTheServerListsNowherePassesWhereItTakesLoginsInClear(t *testing.T) {
	k := opportunistic(t, &rewrite.Policy{}, "250-AUTH LOGIN|250 STARTTLS", "250-AUTH LOGIN PLAIN|250 SIZE", "250-mail.example.com|250-AUTH LOGIN|250 SIZE")
	k.client("AUTH PLAIN AGEAYg==", "", "538 5.7.11 the server offers this login inside TLS only, and this client is in clear; server_tls.auth_in_clear = \"allow\" would pass it")
	k.client("AUTH NTLM", "AUTH NTLM", "")
}
