package rewrite_test

import (
	"testing"

	"smtpshim/rewrite"
)

// underTLS begins a session whose connection to the server is encrypted, past EHLO.
func underTLS(t *testing.T, rules *rewrite.Rules) *talk {
	t.Helper()
	k := talkUnder(t, &rewrite.Policy{Rules: rules, ServerTLS: rewrite.ServerTLSImplicit})
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.server("250-mail.example.com|250 AUTH PLAIN", "", "250-mail.example.com|250 AUTH PLAIN")
	return k
}

func TestALoginByTheTLSConnectionIsRefusedInEverySpelling(t *testing.T) {
	for _, line := range []string{
		"AUTH EXTERNAL", "auth external am9l", "AUTH  EXTERNAL =", "AUTH\tEXTERNAL\tam9l", " AUTH EXTERNAL", "AUTH=EXTERNAL", "AUTH:EXTERNAL",
		"AUTH = EXTERNAL", "AUTH \"EXTERNAL\"", "AUTH EXTERNAL=", "AUTH EXTERNAL,PLAIN", "XAUTH EXTERNAL", "X-EXPS EXTERNAL", "x-exps=external",
		"AUTH SCRAM-SHA-1-PLUS bg==", "auth scram-sha-256-plus", "AUTH\vSCRAM-SHA-512-PLUS", "AUTH GS2-KRB5-PLUS",
	} {
		for _, rules := range []*rewrite.Rules{nil, standard(t)} {
			k := underTLS(t, rules)
			k.d.Command([]byte(line+"\r\n"), false)
			if code := k.codes[len(k.codes)-1]; code != 504 || len(k.d.ToServer) > 0 {
				t.Errorf("%q: the client got %d, the server %q", line, code, k.d.ToServer)
			}
		}
	}
}

func TestOtherLoginsPassThroughTLS(t *testing.T) {
	for _, line := range []string{"AUTH PLAIN AGEAYg==", "AUTH", "AUTH EXTERNALLY", "AUTH X-EXTERNAL", "AUTH LOGIN EXTERNAL", "AUTH NTLM-PLUSH"} {
		k := underTLS(t, standard(t))
		k.client(line, line, "")
	}
}

func TestARuleCannotMakeALoginByTheTLSConnection(t *testing.T) {
	rules := compileRules(t, named("rule", rewrite.Actions{Commands: rewrite.SetOf(rewrite.VerbAUTH), Command: func(t *rewrite.Turn) {
		t.SetLine("AUTH EXTERNAL =")
	}}))
	k := underTLS(t, rules)
	k.client("AUTH PLAIN AGEAYg==", "AUTH PLAIN AGEAYg==", "")
	if len(k.broke) != 1 {
		t.Errorf("broke: %q", k.whys)
	}
}

func TestATraceNamesWhyALoginIsRefused(t *testing.T) {
	k := underTLS(t, nil)
	k.client("AUTH EXTERNAL", "", "504 5.5.4 EXTERNAL goes by the certificate of the TLS connection, which ends at this proxy")
	if last := k.traced[len(k.traced)-1]; last != "S  -> 504 5.5.4 EXTERNAL goes by the certificate of the TLS connection, which ends at this proxy (external)" {
		t.Errorf("traced %q", last)
	}
}

func TestREQUIRETLSIsRefusedInEverySpellingUnlessItCanBeKept(t *testing.T) {
	for _, line := range []string{
		"MAIL FROM:<a@example.com> REQUIRETLS", "mail from:<a@example.com>  requiretls", "MAIL FROM:<a@example.com>\tREQUIRETLS SIZE=9",
		"MAIL FROM: <a@example.com> RequireTLS", "MAIL FROM:<> REQUIRETLS", "MAIL FROM:a@example.com REQUIRETLS", "MAIL FROM:<a@example.com>REQUIRETLS",
		"MAIL FROM <a@example.com> REQUIRETLS", " MAIL FROM:<a@example.com> REQUIRETLS=1",
	} {
		for _, p := range []rewrite.Policy{{}, {ServerTLS: rewrite.ServerTLSImplicit, VerifiesServer: true}, {ClientTLS: rewrite.ClientTLSImplicit},
			{ClientTLS: rewrite.ClientTLSImplicit, ServerTLS: rewrite.ServerTLSImplicit}} {
			k := talkUnder(t, &p)
			k.d.Command([]byte(line+"\r\n"), true)
			if code := k.codes[len(k.codes)-1]; code != 555 || len(k.d.ToServer) > 0 {
				t.Errorf("%q: the client got %d, the server %q", line, code, k.d.ToServer)
			}
		}
		k := talkUnder(t, &rewrite.Policy{ClientTLS: rewrite.ClientTLSImplicit, ServerTLS: rewrite.ServerTLSImplicit, VerifiesServer: true})
		k.client(line, line, "")
	}
	k := talkUnder(t, &rewrite.Policy{})
	k.client("MAIL FROM:<requiretls@example.com>", "MAIL FROM:<requiretls@example.com>", "")
}
