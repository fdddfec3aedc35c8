package proxy_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/login"
	"smtpshim/proxy/login/sasl"
	"smtpshim/proxy/login/token"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

// tokens are of an endpoint that gives out one token, again and again.
func tokens(t testing.TB, secret string) *token.Source {
	t.Helper()
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, secret)
	}))
	t.Cleanup(endpoint.Close)
	file := filepath.Join(t.TempDir(), "office.secret")
	if err := os.WriteFile(file, []byte("made up\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := token.New(token.Settings{Account: "office", Flow: token.ClientCredentials, TokenURL: endpoint.URL, Scopes: []string{"mail"},
		ClientID: "shim", ClientSecretFile: file})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Close() })
	return source
}

// logsIn has a route log in by these entries, inside verified TLS.
func logsIn(t *testing.T, theirs *tls.Config, entries ...login.Entry) func(*proxy.Route) {
	t.Helper()
	l, err := login.New(login.Settings{Entries: entries, Host: "relay.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	return func(r *proxy.Route) {
		serverLeg(rewrite.ServerTLSImplicit, theirs)(r)
		r.ServerTLS.Verified, r.Logins = true, l
	}
}

func account(t testing.TB, s login.AccountSettings) *login.Account {
	t.Helper()
	a, err := login.NewAccount(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// A scanner that cannot log in, at a provider that wants a token. The token is too long
// for the AUTH line.
func TestAScannerSendsThroughAnOAuthAccount(t *testing.T) {
	ours, theirs := testTLS(t)
	secret := strings.Repeat("t", 1500)
	office := account(t, login.AccountSettings{Name: "office", User: "scanner@example.com", Tokens: tokens(t, secret), Sessions: 3, MessagesPerMinute: 30})
	server := steps(smtptest.ServerTLS(ours), smtptest.Say("220 mail.example.com"), smtptest.Expect("EHLO scanner.example.com"),
		smtptest.Say("250-mail.example.com", "250 AUTH LOGIN XOAUTH2"),
		smtptest.Expect("AUTH XOAUTH2"), smtptest.Say("334 "),
		smtptest.Expect(inBase64("user=scanner@example.com\x01auth=Bearer "+secret+"\x01\x01")), smtptest.Say("235 2.7.0 Authentication successful"),
		smtptest.Expect("MAIL FROM:<scanner@example.com>"), smtptest.Say("250 2.1.0 ok"), smtptest.Expect("RCPT TO:<b@example.net>"), smtptest.Say("250 2.1.5 ok"),
		smtptest.Expect("DATA"), smtptest.Say("354 go"), smtptest.Expect("hi", "."), smtptest.Say("250 2.0.0 queued"),
		smtptest.Expect("QUIT"), smtptest.Say("221 bye"))
	client := steps(smtptest.Expect("220 mail.example.com"), smtptest.Say("EHLO scanner.example.com"),
		smtptest.Expect("250-mail.example.com", "250 AUTH LOGIN PLAIN"), smtptest.Say("MAIL FROM:<copier@example.org>"), smtptest.Expect("250 2.1.0 ok"),
		smtptest.Say("RCPT TO:<b@example.net>"), smtptest.Expect("250 2.1.5 ok"), smtptest.Say("DATA"), smtptest.Expect("354 go"),
		smtptest.Say("hi", "."), smtptest.Expect("250 2.0.0 queued"), smtptest.Say("QUIT"), smtptest.Expect("221 bye"))
	n := play(t, server, client, logsIn(t, theirs, login.Entry{Networks: loopback, Account: office, Sender: "scanner@example.com"}))
	wantCount(t, n, "message accepted", 1)
}

// A device logs in to us by LOGIN, with a short password of its own.
func TestAClientLogsInWithItsOwnPassword(t *testing.T) {
	ours, theirs := testTLS(t)
	office := account(t, login.AccountSettings{Name: "office", User: "office@example.com", Password: sasl.Password("long password")})
	entry := login.Entry{Networks: loopback, User: "canon", Secret: sasl.Password("short"), Account: office, Senders: []string{"@example.com"}}
	server := steps(smtptest.ServerTLS(ours), smtptest.Say("220 mail.example.com"), smtptest.Expect("EHLO canon.example.com"),
		smtptest.Say("250-mail.example.com", "250 AUTH PLAIN LOGIN"),
		smtptest.Expect("AUTH PLAIN "+inBase64("\x00office@example.com\x00long password")), smtptest.Say("235 2.7.0 ok"),
		smtptest.Expect("MAIL FROM:<canon@example.com>"), smtptest.Say("250 ok"), smtptest.ExpectEnd())
	client := steps(smtptest.Expect("220 mail.example.com"), smtptest.Say("EHLO canon.example.com"),
		smtptest.Expect("250-mail.example.com", "250 AUTH SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 NTLM PLAIN LOGIN"),
		smtptest.Say("MAIL FROM:<canon@example.com>"), smtptest.Expect("530 5.7.0 authentication required"),
		smtptest.Say("AUTH LOGIN"), smtptest.Expect("334 VXNlcm5hbWU6"), smtptest.Say(inBase64("canon")), smtptest.Expect("334 UGFzc3dvcmQ6"),
		smtptest.Say(inBase64("short")), smtptest.Expect("235 2.7.0 authentication succeeded"),
		smtptest.Say("MAIL FROM:<boss@example.org>"), smtptest.Expect("550 5.7.60 this sender is not allowed for this login"),
		smtptest.Say("MAIL FROM:<canon@example.com>"), smtptest.Expect("250 ok"))
	play(t, server, client, logsIn(t, theirs, entry))
}

// A refusal for good is not asked for again by the next session.
func TestARefusedAccountIsNotTriedAgainAtOnce(t *testing.T) {
	ours, theirs := testTLS(t)
	office := account(t, login.AccountSettings{Name: "office", User: "office@example.com", Password: sasl.Password("wrong")})
	route := logsIn(t, theirs, login.Entry{Networks: loopback, Account: office})
	for _, auth := range [][]smtptest.Step{
		steps(smtptest.Expect("AUTH PLAIN "+inBase64("\x00office@example.com\x00wrong")), smtptest.Say("535 5.7.139 Authentication unsuccessful, basic authentication is disabled.")),
		nil,
	} {
		server := append(steps(smtptest.ServerTLS(ours), smtptest.Say("220 mail.example.com"), smtptest.Expect("EHLO canon.example.com"),
			smtptest.Say("250-mail.example.com", "250 AUTH PLAIN")), append(auth, smtptest.ExpectEnd())...)
		client := steps(smtptest.Expect("220 mail.example.com"), smtptest.Say("EHLO canon.example.com"), smtptest.Expect("250-mail.example.com", "250 AUTH LOGIN PLAIN"),
			smtptest.Say("MAIL FROM:<canon@example.com>"), smtptest.Expect("535 5.7.8 the server refuses the login of this account"))
		play(t, server, client, route)
	}
}
