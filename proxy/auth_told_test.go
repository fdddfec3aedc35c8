package proxy_test

import (
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/login"
	"smtpshim/proxy/login/sasl"
	"smtpshim/proxy/smtptest"
)

// wantAuths checks which AUTH exchanges were counted, each once.
func wantAuths(t *testing.T, c *counts, want ...string) {
	t.Helper()
	c.outcome(t) // everything has been counted by then
	wanted := map[string]int{}
	for _, w := range want {
		wanted["auth "+w]++
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for what, n := range c.n {
		if len(what) > 5 && what[:5] == "auth " && wanted[what] != n {
			t.Errorf("%q was counted %d times, want %d", what, n, wanted[what])
		}
	}
	for what, n := range wanted {
		if c.n[what] != n {
			t.Errorf("%q was counted %d times, want %d", what, c.n[what], n)
		}
	}
}

const (
	ntlmFirst = "TlRMTVNTUAABAAAAl5IAQAAAAAAAAAAAAAAAAAAAAAA="
	ntlmLast  = "TlRMTVNTUAADAAAAAAAAAAAAAAA="
)

func TestAUTHThatPassesThroughIsCountedOnBothSides(t *testing.T) {
	dialogue := func(client bool) []smtptest.Step {
		say, hear := smtptest.Say, smtptest.Expect
		if client {
			say, hear = hear, say
		}
		return steps(say(greeting), hear("EHLO client.example.com"), say("250-mail.example.com", "250 AUTH NTLM PLAIN"),
			hear("AUTH NTLM "+ntlmFirst), say("334 TlRMTVNTUAACAAAA"), hear("*"), say("501 cancelled"),
			hear("AUTH PLAIN AGEAYg=="), say("535 5.7.8 no"),
			hear("AUTH PLAIN AGEAYw=="), say("235 ok"),
			hear("QUIT"), say("221 bye"))
	}
	c := play(t, dialogue(false), dialogue(true), nil)
	wantAuths(t, c, "client NTLM cancelled", "server NTLM cancelled", "client PLAIN refused", "server PLAIN refused", "client PLAIN ok", "server PLAIN ok")
}

// The server refuses two forms of XAUTH; the exchange is one.
func TestTranslatedXAUTHIsOneExchangeOnEachSide(t *testing.T) {
	server := steps(smtptest.Say(greeting), smtptest.Expect("EHLO client.example.com"), smtptest.Say("250-mail.example.com", "250 XAUTH NTLM"),
		smtptest.Expect("XAUTH NTLM "+ntlmFirst), smtptest.Say("501 syntax error"), smtptest.Expect("XAUTH NTLM"), smtptest.Say("334 ntlm supported"),
		smtptest.Expect(ntlmFirst), smtptest.Say("334 TlRMTVNTUAACAAAA"), smtptest.Expect(ntlmLast), smtptest.Say("235 ok"),
		smtptest.Expect("QUIT"), smtptest.Say("221 bye"))
	client := steps(smtptest.Expect(greeting), smtptest.Say("EHLO client.example.com"),
		smtptest.Expect("250-mail.example.com", "250-XAUTH NTLM", "250-AUTH NTLM", "250 AUTH=NTLM"),
		smtptest.Say("AUTH NTLM "+ntlmFirst), smtptest.Expect("334 TlRMTVNTUAACAAAA"), smtptest.Say(ntlmLast), smtptest.Expect("235 ok"),
		smtptest.Say("QUIT"), smtptest.Expect("221 bye"))
	c := play(t, server, client, func(r *proxy.Route) { r.Rules = compile(t, "translate-xauth") })
	wantAuths(t, c, "client NTLM ok", "server NTLM ok")
}

func TestAClientThatHangsUpWithinAUTHIsCountedAsUnfinished(t *testing.T) {
	server := steps(smtptest.Say(greeting), smtptest.Expect("AUTH LOGIN"), smtptest.Say("334 VXNlcm5hbWU6"), smtptest.ExpectEnd())
	client := steps(smtptest.Expect(greeting), smtptest.Say("AUTH LOGIN"), smtptest.Expect("334 VXNlcm5hbWU6"), smtptest.Close())
	wantAuths(t, play(t, server, client, nil), "client LOGIN unfinished", "server LOGIN unfinished")
}

// A client logs in to us by LOGIN, and we at the server by PLAIN, once by a password that
// it does not take.
func TestLoginsOfOursAreCountedOnTheirOwnSides(t *testing.T) {
	ours, theirs := testTLS(t)
	for _, test := range []struct {
		answer, told, outcome string
	}{
		{"235 2.7.0 ok", "235 2.7.0 authentication succeeded", "ok"},
		{"535 5.7.8 no", "535 5.7.8 the server refuses the login of this account", "refused"},
	} {
		office := account(t, login.AccountSettings{Name: "office", User: "office@example.com", Password: sasl.Password("long password")})
		entry := login.Entry{Networks: loopback, User: "canon", Secret: sasl.Password("short"), Account: office}
		server := steps(smtptest.ServerTLS(ours), smtptest.Say(greeting), smtptest.Expect("EHLO canon.example.com"),
			smtptest.Say("250-mail.example.com", "250 AUTH PLAIN"),
			smtptest.Expect("AUTH PLAIN "+inBase64("\x00office@example.com\x00long password")), smtptest.Say(test.answer), smtptest.ExpectEnd())
		client := steps(smtptest.Expect(greeting), smtptest.Say("EHLO canon.example.com"),
			smtptest.Expect("250-mail.example.com", "250 AUTH SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 NTLM PLAIN LOGIN"),
			smtptest.Say("AUTH LOGIN"), smtptest.Expect("334 VXNlcm5hbWU6"), smtptest.Say(inBase64("canon")), smtptest.Expect("334 UGFzc3dvcmQ6"),
			smtptest.Say(inBase64("short")), smtptest.Expect(test.told))
		c := play(t, server, client, logsIn(t, theirs, entry))
		wantAuths(t, c, "client LOGIN "+test.outcome, "server PLAIN "+test.outcome)
	}
}

func TestTheLogSaysByWhatAClientLogsIn(t *testing.T) {
	ours, theirs := testTLS(t)
	office := account(t, login.AccountSettings{Name: "office", User: "office@example.com", Password: sasl.Password("x")})
	entry := login.Entry{Networks: loopback, Account: office}
	server := steps(smtptest.ServerTLS(ours), smtptest.Say(greeting), smtptest.Expect("EHLO canon.example.com"), smtptest.Say("250-mail.example.com", "250 AUTH CRAM-MD5 PLAIN"))
	client := steps(smtptest.Expect(greeting), smtptest.Say("EHLO canon.example.com"), smtptest.Expect("250-mail.example.com", "250 AUTH LOGIN PLAIN"))
	proof := steps(smtptest.Expect("AUTH PLAIN "+inBase64("\x00office@example.com\x00x")), smtptest.Say("235 ok"))
	office.Mechanisms = []string{"PLAIN"}
	passServer, passClient := dialogue(greeting, "EHLO c.example.com", "250 ok", "AUTH LOGIN", "334 VXNlcm5hbWU6", "eA==", "334 UGFzc3dvcmQ6", "eA==", "235 ok")
	refusedServer, refusedClient := dialogue(greeting, "EHLO c.example.com", "250 ok", "AUTH PLAIN AGEAYg==", "535 no")
	for name, test := range map[string]struct {
		server, client []smtptest.Step
		change         func(*proxy.Route)
		want           [2]string
	}{
		"passes":     {passServer, passClient, nil, [2]string{"LOGIN", "LOGIN"}},
		"is refused": {refusedServer, refusedClient, nil, [2]string{}},
		"to us":      {list(server, proof, steps(smtptest.ExpectEnd())), list(client, steps(smtptest.Say("AUTH LOGIN eA=="), smtptest.Expect("334 UGFzc3dvcmQ6"), smtptest.Say("eA=="), smtptest.Expect("235 2.7.0 authentication succeeded"))), logsIn(t, theirs, entry), [2]string{"LOGIN", "PLAIN"}},
		"need not":   {list(server, proof, steps(smtptest.Expect("MAIL FROM:<>"), smtptest.Say("250 ok"), smtptest.ExpectEnd())), list(client, steps(smtptest.Say("MAIL FROM:<>"), smtptest.Expect("250 ok"))), logsIn(t, theirs, entry), [2]string{"", "PLAIN"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := endOf(t, test.server, test.client, test.change)
			if got := [2]string{e.ClientAuth, e.ServerAuth}; got != test.want {
				t.Errorf("the log says %q, want %q", got, test.want)
			}
		})
	}
}
