package proxy_test

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"smtpshim/proxy/login"
	"smtpshim/proxy/login/sasl"
	"smtpshim/proxy/smtptest"
)

func TestTheLogSaysWhatAProvidersRefusalMeans(t *testing.T) {
	const (
		mail, rcpt, data, dot = "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "text\r\n."
		ehlo, ok, goOn        = "EHLO c.example.com", "250 2.0.0 ok", "354 go on"
	)
	for name, test := range map[string]struct {
		greets    string
		exchanges []string
		means, do string // in what is said; "": nothing is
	}{
		"greeting":           {"432 4.3.2 Concurrent connections limit exceeded.", nil, "too many connections", "sessions"},
		"AUTH":               {greeting, []string{ehlo, ok, "AUTH PLAIN AGEAYg==", "535 5.7.139 Authentication unsuccessful, basic authentication is disabled. [X]"}, "by a policy", "OAuth"},
		"AUTH, lines":        {greeting, []string{ehlo, ok, "AUTH PLAIN AGEAYg==", "534-5.7.9 Application-specific password required. For more\r\n534 5.7.9 information, go to"}, "app password", "app password"},
		"AUTH, hidden":       {greeting, []string{ehlo, ok, "AUTH PLAIN AGEAYg==", "535 5.7.3 not AGEAYg=="}, "", ""},
		"AUTH, unknown":      {greeting, []string{ehlo, ok, "AUTH PLAIN AGEAYg==", "535 5.7.1 no"}, "", ""},
		"MAIL":               {greeting, []string{ehlo, ok, mail, "530 5.7.57 Client not authenticated to send mail. [X]"}, "not logged in", "login"},
		"RCPT":               {greeting, []string{ehlo, ok, mail, ok, rcpt, "550 5.7.68 TenantInboundAttribution; Direct Send not allowed"}, "Direct Send", "connector"},
		"RCPT, unknown":      {greeting, []string{ehlo, ok, mail, ok, rcpt, "550 5.1.1 no such user"}, "", ""},
		"the message":        {greeting, []string{ehlo, ok, mail, ok, rcpt, ok, data, goOn, dot, "554 5.2.252 SendAsDenied; a@example.com not allowed to send as"}, "may not send as", "SendAs"},
		"one of two":         {greeting, []string{ehlo, ok, mail, ok, rcpt, "550 5.7.64 TenantAttribution; Relay Access Denied", "RCPT TO:<c@example.net>", ok, data, goOn, dot, ok}, "connector", "certificate"},
		"what is no refusal": {greeting, []string{ehlo, ok, mail, "250 5.7.57 ok", "RSET", ok}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := dialogue(test.greets, test.exchanges...)
			e := endOf(t, append(server, quitServer...), append(client, quitClient...), nil)
			wantMeaning(t, e, test.means, test.do)
		})
	}
}

func wantMeaning(t *testing.T, e ending, means, do string) {
	t.Helper()
	if !strings.Contains(e.Means, means) || !strings.Contains(e.Do, do) || (e.Means == "") != (means == "") || (e.Do == "") != (do == "") {
		t.Errorf("%s of %s %d means %q, and to do is %q; want %q, %q", e.Outcome, e.Refused, e.Code, e.Means, e.Do, means, do)
	}
}

// What our login is refused for is told of the client's session, to which we have said
// something else.
func TestTheLogSaysWhatTheServerMeansByRefusingOurLogin(t *testing.T) {
	ours, theirs := testTLS(t)
	office := account(t, login.AccountSettings{Name: "office", User: "office@example.com", Password: sasl.Password("wrong")})
	route := logsIn(t, theirs, login.Entry{Networks: loopback, Account: office})
	for i, auth := range [][]smtptest.Step{
		steps(smtptest.Expect("AUTH PLAIN "+inBase64("\x00office@example.com\x00wrong")), smtptest.Say("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit")),
		nil, // the account is not tried again at once
	} {
		for _, says := range []string{"MAIL FROM:<canon@example.com>", "AUTH PLAIN AGEAYg=="} {
			t.Run(fmt.Sprint(i, says[:4]), func(t *testing.T) {
				server, client := refusedLogin(ours, says, auth, "535 5.7.8 the server refuses the login of this account")
				e := endOf(t, server, client, route)
				wantMeaning(t, e, "turned off for the whole tenant", "for the tenant")
			})
			auth = nil
		}
	}
}

func TestTheLogSaysWhyThereIsNoToken(t *testing.T) {
	ours, theirs := testTLS(t)
	source := tokens(t, "secret")
	source.Close()
	for name, test := range map[string]struct {
		account login.AccountSettings
		entry   login.Entry
		told    string
		means   string
	}{
		"no token":     {login.AccountSettings{Tokens: source}, login.Entry{}, "454 4.7.0 the token endpoint gives no token now, try again", "there is no token"},
		"no mechanism": {login.AccountSettings{Password: sasl.Password("x"), Mechanisms: []string{"SCRAM-SHA-256"}}, login.Entry{}, "535 5.7.8 the server offers no login that this account can use", "no mechanism"},
	} {
		t.Run(name, func(t *testing.T) {
			test.account.Name, test.account.User = "office", "office@example.com"
			test.entry.Networks, test.entry.Account = loopback, account(t, test.account)
			server, client := refusedLogin(ours, "MAIL FROM:<canon@example.com>", nil, test.told)
			e := endOf(t, server, client, logsIn(t, theirs, test.entry))
			wantMeaning(t, e, test.means, e.Do)
			if e.Do == "" {
				t.Error("nothing is to be done")
			}
		})
	}
}

func TestTheLogSaysWhichSendersALoginAllows(t *testing.T) {
	ours, theirs := testTLS(t)
	office := account(t, login.AccountSettings{Name: "office", User: "office@example.com", Password: sasl.Password("x")})
	auth := steps(smtptest.Expect("AUTH PLAIN "+inBase64("\x00office@example.com\x00x")), smtptest.Say("235 ok"))
	server, client := refusedLogin(ours, "MAIL FROM:<boss@example.org>", auth, "550 5.7.60 this sender is not allowed for this login")
	e := endOf(t, server, client, logsIn(t, theirs, login.Entry{Networks: loopback, Account: office, Senders: []string{"@example.com"}}))
	wantMeaning(t, e, "the route's login does not allow", "senders")
}

// refusedLogin is a session with logins, in which the client says something and is told
// a refusal.
func refusedLogin(ours *tls.Config, says string, auth []smtptest.Step, told string) (server, client []smtptest.Step) {
	server = append(steps(smtptest.ServerTLS(ours), smtptest.Say(greeting), smtptest.Expect("EHLO canon.example.com"),
		smtptest.Say("250-mail.example.com", "250 AUTH PLAIN")), append(auth, smtptest.ExpectEnd())...)
	client = steps(smtptest.Expect(greeting), smtptest.Say("EHLO canon.example.com"), smtptest.Expect("250-mail.example.com", "250 AUTH LOGIN PLAIN"),
		smtptest.Say(says), smtptest.Expect(told))
	return server, client
}

// Our own 530 says what that of any server says; the log says whose it is.
func TestTheLogSaysThatNoLoginFitsTheClient(t *testing.T) {
	ours, theirs := testTLS(t)
	office := account(t, login.AccountSettings{Name: "office", User: "office@example.com", Password: sasl.Password("long")})
	elsewhere := login.Entry{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Account: office}
	server := steps(smtptest.ServerTLS(ours), smtptest.Say("220 mail.example.com"), smtptest.Expect("EHLO c.example.com"),
		smtptest.Say("250-mail.example.com", "250 AUTH PLAIN"), smtptest.ExpectEnd())
	client := steps(smtptest.Expect("220 mail.example.com"), smtptest.Say("EHLO c.example.com"), smtptest.Expect("250 mail.example.com"),
		smtptest.Say("MAIL FROM:<a@example.com>"), smtptest.Expect("530 5.7.0 authentication required"))
	e := endOf(t, server, client, logsIn(t, theirs, elsewhere))
	wantMeaning(t, e, "smtpshim refused it itself", "add the client's network to networks of a [[route.login]]")
}
