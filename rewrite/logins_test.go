package rewrite_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
)

// books are logins of a test's own: one user, whose password is its name backwards, or
// a network that need not log in.
type books struct {
	open  netip.Prefix
	login *paper
	inTLS bool // nobody logs in outside TLS
}

func (b *books) Mechanisms(c rewrite.Caller) []string {
	if b.inTLS && !c.TLS {
		return nil
	}
	return []string{"PLAIN", "LOGIN", "NTLM"}
}

func (b *books) Accept(c rewrite.Caller, mechanism string) rewrite.Acceptance {
	if mechanism != "PLAIN" {
		return nil
	}
	return &doorman{books: b}
}

func (b *books) Unasked(c rewrite.Caller) rewrite.Login {
	if b.open.Contains(c.Address) {
		return b.login
	}
	return nil
}

type doorman struct {
	books *books
	said  string
}

func (m *doorman) Next(_ context.Context, line string) (string, bool) {
	m.said = line
	return "", line == ""
}

func (m *doorman) Login() (rewrite.Login, rewrite.Reply) {
	if m.said != b64("\x00user\x00resu") {
		return nil, rewrite.Reply{Code: 535, Lines: []string{"5.7.8 no"}}
	}
	return m.books.login, rewrite.Reply{}
}

// paper is a login that sends a token, in two responses if it is long.
type paper struct {
	token   string
	sender  string
	full    bool // no room
	absent  bool // no token
	mute    bool // no exchange
	ended   []string
	offered []string
	closed  int
}

func (p *paper) Close() { p.closed++ }

func (p *paper) Why(r rewrite.Reply) (means, do string) {
	if r.Code == 535 {
		return "the account is no good", "get another"
	}
	return "", ""
}
func (p *paper) Begin(_ context.Context, offered []string) (rewrite.Exchange, rewrite.Reply) {
	if p.offered = offered; p.absent {
		return nil, rewrite.Reply{Code: 454, Lines: []string{"4.7.0 no token"}}
	}
	return p, rewrite.Reply{}
}
func (p *paper) Name() string { return "XOAUTH2" }

func (p *paper) Start() (string, error) {
	if p.mute {
		return "", errors.New("nothing to say")
	}
	return b64(p.token), nil
}

func (p *paper) Next(challenge string) (string, error) {
	if challenge == b64("give up") {
		return "", errors.New("no such challenge")
	}
	return "", nil
}

func (p *paper) Ended(r rewrite.Reply, err error) rewrite.Reply {
	what := strings.Join(r.Lines, "|")
	if err != nil {
		what = err.Error()
	}
	if p.ended = append(p.ended, what); r.Code < 300 && err == nil { // as package login has it
		return rewrite.Reply{}
	}
	return rewrite.Reply{Code: 535, Lines: []string{"5.7.8 the account is refused"}}
}

func (p *paper) Admit(context.Context) rewrite.Reply {
	if p.full {
		return rewrite.Reply{Code: 451, Lines: []string{"4.3.2 too many messages"}}
	}
	return rewrite.Reply{}
}

func (p *paper) Sender(address string) (string, rewrite.Reply) {
	switch {
	case address == "evil@example.com":
		return "", rewrite.Reply{Code: 550, Lines: []string{"5.7.60 not this sender"}}
	case p.sender != "":
		return p.sender, rewrite.Reply{}
	}
	return address, rewrite.Reply{}
}

// loginTalk is a dialogue under logins, inside TLS with the server, before any hello.
func loginTalk(t *testing.T, b *books) *talk {
	if b.login == nil {
		b.login = &paper{token: "t0ken"}
	}
	return talkUnder(t, &rewrite.Policy{Logins: b, ServerTLS: rewrite.ServerTLSImplicit, VerifiesServer: true})
}

// said has the client say hello and be told what it may log in by.
func (k *talk) saidHello() {
	k.Helper()
	k.client("EHLO client.example.com", "EHLO client.example.com", "")
	k.server("250-mail.example.com|250-AUTH LOGIN XOAUTH2|250 SIZE 1000", "", "250-mail.example.com|250-SIZE 1000|250 AUTH PLAIN LOGIN NTLM")
}

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// work does what the dialogue wants done apart, however often.
func (k *talk) work(toServer, toClient string) {
	k.Helper()
	for k.d.Next(false) == rewrite.AwaitWork {
		k.d.Work(k.Context())
		k.d.Worked()
	}
	k.expect("the work", toServer, toClient)
}

func TestAClientLogsInToUsAndWeAtTheServer(t *testing.T) {
	b := &books{}
	k := loginTalk(t, b)
	k.saidHello()
	k.client("AUTH PLAIN "+b64("\x00user\x00resu"), "", "")
	k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
	k.server("235 2.7.0 yes", "", "235 2.7.0 authentication succeeded")
	k.client("NOOP", "NOOP", "")
	k.server("250 ok", "", "250 ok")
	k.client("MAIL FROM:<a@example.com> SIZE=10", "", "")
	k.work("MAIL FROM:<a@example.com> SIZE=10", "")
	k.server("250 ok", "", "250 ok")
	if got := strings.Join(b.login.offered, " "); got != "LOGIN XOAUTH2" {
		t.Errorf("the login may choose from %q", got)
	}
	k.d.Close()
	if b.login.closed != 1 {
		t.Errorf("the login was closed %d times", b.login.closed)
	}
}

func TestAClientOfANetworkNeedNotLogIn(t *testing.T) {
	for _, hello := range []bool{true, false} {
		b := &books{open: netip.MustParsePrefix("192.0.2.0/24"), login: &paper{token: "t0ken", sender: "scanner@example.com"}}
		k := loginTalk(t, b)
		if hello {
			k.saidHello()
			k.client("MAIL FROM:<> BODY=8BITMIME", "", "")
		} else {
			k.client("MAIL FROM:<> BODY=8BITMIME", "EHLO relay.example.com", "")
			k.server("250-mail.example.com|250 AUTH XOAUTH2", "", "")
		}
		k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
		k.server("235 2.7.0 yes", "", "")
		k.work("MAIL FROM:<scanner@example.com> BODY=8BITMIME", "")
		k.server("250 ok", "", "250 ok")
	}
}

// A client that has said HELO gets one line, and the server an EHLO of ours.
func TestAHELOClientIsLoggedInBehindAnEHLO(t *testing.T) {
	k := loginTalk(t, &books{open: netip.MustParsePrefix("192.0.2.0/24")})
	k.client("HELO scanner.example.com", "HELO scanner.example.com", "")
	k.server("250 mail.example.com", "", "250 mail.example.com")
	k.client("MAIL FROM:<a@example.com>", "EHLO scanner.example.com", "")
	k.server("250-mail.example.com|250 AUTH XOAUTH2", "", "")
	k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
	k.server("235 2.7.0 yes", "", "")
	k.work("MAIL FROM:<a@example.com>", "")
	k.server("250 ok", "", "250 ok")
}

func TestNobodyMailsWhoHasNotLoggedIn(t *testing.T) {
	k := loginTalk(t, &books{})
	k.saidHello()
	k.client("MAIL FROM:<a@example.com>", "", "530 5.7.0 authentication required")
	k.client("SAML FROM:<a@example.com>", "", "502 5.5.1 command not available here")
	k.client("AUTH PLAIN "+b64("\x00user\x00wrong"), "", "")
	k.work("", "535 5.7.8 no")
	k.client("MAIL FROM:<a@example.com>", "", "530 5.7.0 authentication required")
	k.client("AUTH CRAM-MD5", "", "504 5.5.4 no login here by this mechanism")
	k.client("AUTH PLAIN", "", "")
	k.work("", "334 ")
	k.client("*", "", "501 5.7.0 the exchange is cancelled")
	k.client("MAIL FROM:<a@example.com>", "", "530 5.7.0 authentication required")
}

func TestALongTokenGoesInALineOfItsOwn(t *testing.T) {
	token := strings.Repeat("t", 1500)
	k := loginTalk(t, &books{open: netip.MustParsePrefix("192.0.2.0/24"), login: &paper{token: token}})
	k.saidHello()
	k.client("MAIL FROM:<a@example.com>", "", "")
	k.work("AUTH XOAUTH2", "")
	k.server("334 ", b64(token), "")
	k.server("235 2.7.0 yes", "", "")
	k.work("MAIL FROM:<a@example.com>", "")
}

func TestARefusalAtTheServerIsTheAccounts(t *testing.T) {
	for name, replies := range map[string][]string{
		"at once":                 {"535 5.7.3 no"},
		"behind a challenge":      {"334 " + b64(`{"status":"401"}`), "535-5.7.8 no|535 5.7.8 no"},
		"of the line":             {"500 line too long"},
		"behind a wrong question": {"334 " + b64("give up"), "501 cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &books{open: netip.MustParsePrefix("192.0.2.0/24"), login: &paper{token: "t0ken"}}
			k := loginTalk(t, b)
			k.saidHello()
			k.client("MAIL FROM:<a@example.com>", "", "")
			k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
			for i, reply := range replies {
				toServer, toClient := "", "535 5.7.8 the account is refused"
				if i < len(replies)-1 {
					toClient = ""
				}
				if strings.HasSuffix(reply, b64("give up")) {
					toServer = "*"
				}
				k.server(reply, toServer, toClient)
			}
			if len(b.login.ended) != 1 {
				t.Errorf("the account heard of %q", b.login.ended)
			}
			k.client("NOOP", "NOOP", "")
			k.server("250 ok", "", "250 ok")
		})
	}
}

func TestWhatALoginRefusesTheClientHears(t *testing.T) {
	open := netip.MustParsePrefix("192.0.2.0/24")
	k := loginTalk(t, &books{open: open, login: &paper{absent: true}})
	k.saidHello()
	k.client("MAIL FROM:<a@example.com>", "", "")
	k.work("", "454 4.7.0 no token")

	k = loginTalk(t, &books{open: open, login: &paper{full: true}})
	k.saidHello()
	k.client("MAIL FROM:<a@example.com>", "", "")
	k.work("AUTH XOAUTH2", "")
	k.server("235 yes", "", "")
	k.work("", "451 4.3.2 too many messages")

	k = loginTalk(t, &books{open: open})
	k.saidHello()
	k.client("MAIL FROM:<evil@example.com>", "", "")
	k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
	k.server("235 yes", "", "")
	k.work("", "550 5.7.60 not this sender")
}

func TestNothingSecretOfALoginIsTraced(t *testing.T) {
	k := loginTalk(t, &books{})
	k.saidHello()
	k.client("AUTH PLAIN "+b64("\x00user\x00resu"), "", "")
	k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
	k.server("535 5.7.3 "+b64("t0ken")+" is no token", "", "535 5.7.8 the account is refused")
	all := strings.Join(k.traced, "\n")
	for _, secret := range []string{b64("\x00user\x00resu"), b64("t0ken"), "t0ken", "resu"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is in the trace:\n%s", secret, all)
		}
	}
	k.traces("C AUTH PLAIN ...(16 octets) ->  (login)", "C  -> AUTH XOAUTH2 ...(8 octets) (login)")
}

// The sender is the login's however often MAIL is said, and whoever says it.
func TestNoMAILNamesAnotherSenderThanTheLogins(t *testing.T) {
	said := named("said", rewrite.Actions{Refusals: rewrite.SetOf(rewrite.VerbMAIL), Reply: func(t *rewrite.Turn) {
		if t.Reply().Code == 501 {
			t.Again(strings.Replace(string(t.Said()), ": ", ":", 1))
		}
	}})
	b := &books{open: netip.MustParsePrefix("192.0.2.0/24"), login: &paper{token: "t0ken", sender: "scanner@example.com"}}
	k := talkUnder(t, &rewrite.Policy{Logins: b, ServerTLS: rewrite.ServerTLSImplicit, VerifiesServer: true, Rules: compileRules(t, said)})
	k.saidHello()
	k.client("MAIL FROM: <a@example.com> X=1", "", "")
	k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
	k.server("235 yes", "", "")
	k.work("MAIL FROM: <scanner@example.com> X=1", "")
	k.server("501 syntax", "MAIL FROM:<scanner@example.com> X=1", "")
	k.server("250 ok", "", "250 ok")
	k.acted("said", "")
	k.client("MAIL FROM:<b@example.com>", "MAIL FROM:<scanner@example.com>", "")
	k.server("503 nested", "", "503 nested")
}

// Behind client TLS a client may log in otherwise than in clear, also at a server that
// takes one EHLO.
func TestALoginThatNeedsTLSIsOfferedWithinIt(t *testing.T) {
	k := talkUnder(t, &rewrite.Policy{Logins: &books{inTLS: true}, ClientTLS: rewrite.ClientTLSOffer, ServerTLS: rewrite.ServerTLSImplicit, VerifiesServer: true})
	k.client("EHLO client.example.com", "EHLO client.example.com", "")
	k.server("250-mail.example.com|250 AUTH XOAUTH2", "", "250-mail.example.com|250 STARTTLS")
	k.client("STARTTLS", "", "220 2.0.0 ready to start TLS")
	k.d.ClientTLS()
	k.client("EHLO client.example.com", "EHLO client.example.com", "")
	k.server("503 Bad sequence", "RSET", "")
	k.server("250 ok", "", "250-mail.example.com|250 AUTH PLAIN LOGIN NTLM")
}

func TestALoginIsGivenUpForTheNext(t *testing.T) {
	b := &books{open: netip.MustParsePrefix("192.0.2.0/24"), login: &paper{mute: true}}
	k := loginTalk(t, b)
	k.saidHello()
	k.client("MAIL FROM:<a@example.com>", "", "")
	k.work("", "535 5.7.8 the account is refused")
	k.client("AUTH PLAIN "+b64("\x00user\x00resu"), "", "")
	k.work("", "535 5.7.8 the account is refused")
	if b.login.closed != 2 {
		t.Errorf("the logins were closed %d times", b.login.closed)
	}
	k.client("NOOP", "NOOP", "")
	k.server("250 ok", "", "250 ok")
}

// A server without TLS, or whose certificate nobody has verified, must not get a token,
// whatever the policy says.
func TestNoLoginGoesInClear(t *testing.T) {
	unverified := talkUnder(t, &rewrite.Policy{Logins: &books{open: netip.MustParsePrefix("192.0.2.0/24"), login: &paper{token: "t0ken"}}, ServerTLS: rewrite.ServerTLSImplicit})
	unverified.saidHello()
	unverified.client("MAIL FROM:<a@example.com>", "", "454 4.7.0 no login at the server: its connection is not encrypted, or its certificate not verified")
	k := talkUnder(t, &rewrite.Policy{Logins: &books{open: netip.MustParsePrefix("192.0.2.0/24"), login: &paper{token: "t0ken"}}})
	k.client("EHLO client.example.com", "EHLO client.example.com", "")
	k.server("250-mail.example.com|250 AUTH XOAUTH2", "", "250-mail.example.com|250 AUTH PLAIN LOGIN NTLM")
	k.client("MAIL FROM:<a@example.com>", "", "454 4.7.0 no login at the server: its connection is not encrypted, or its certificate not verified")
}

func TestNobodyElseBeginsBehindALogin(t *testing.T) {
	b := &books{open: netip.MustParsePrefix("192.0.2.0/24"), login: &paper{token: "t0ken"}}
	k := talkUnder(t, &rewrite.Policy{Logins: b, ServerTLS: rewrite.ServerTLSImplicit, VerifiesServer: true, ClientTLS: rewrite.ClientTLSOffer, XCLIENTFrom: []netip.Prefix{b.open}})
	k.client("EHLO client.example.com", "EHLO client.example.com", "")
	k.server("250-mail.example.com|250 AUTH XOAUTH2", "", "250-mail.example.com|250-STARTTLS|250-AUTH PLAIN LOGIN NTLM|250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT")
	k.client("MAIL FROM:<a@example.com>", "", "")
	k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
	k.server("235 yes", "", "")
	k.work("MAIL FROM:<a@example.com>", "")
	k.server("550 no", "", "550 no")
	k.client("STARTTLS", "", "503 5.5.1 STARTTLS comes before AUTH and MAIL")
	k.client("XCLIENT ADDR=192.0.2.200", "", "503 5.5.1 XCLIENT comes before AUTH and MAIL")
}

// What a client says of logins goes through rules that speak of AUTH: XAUTH is shown
// where NTLM is ours.
func TestXAUTHIsShownForOurNTLM(t *testing.T) {
	k := talkUnder(t, &rewrite.Policy{Logins: &books{}, ServerTLS: rewrite.ServerTLSImplicit, ClearLogin: rewrite.ClearLoginRefuse, VerifiesServer: true, Rules: compile(t, "translate-xauth")})
	k.client("EHLO client.example.com", "EHLO client.example.com", "")
	k.server("250-mail.example.com|250 AUTH XOAUTH2", "", "250-mail.example.com|250-AUTH PLAIN LOGIN NTLM|250 XAUTH NTLM")
	k.client("XAUTH NTLM", "", "504 5.5.4 no login here by this mechanism")
	k.acted("translate-xauth", "")
}

// explained hears what logins say of refusals.
type explained struct {
	silent
	d    *rewrite.Dialogue
	told []string
}

func (e *explained) Replied(_ rewrite.Verb, code int, _ []byte) {
	if means, do := e.d.Explanation(); means != "" {
		e.told = append(e.told, fmt.Sprintf("%d: %s, %s", code, means, do))
	}
}

func TestTheListenerHearsWhyALoginRefuses(t *testing.T) {
	heard := &explained{}
	b := &books{open: netip.MustParsePrefix("192.0.2.0/24"), login: &paper{token: "t0ken"}}
	k := &talk{T: t}
	k.d = rewrite.New(&rewrite.Policy{Logins: b, ServerTLS: rewrite.ServerTLSImplicit, VerifiesServer: true}, netip.MustParseAddr("192.0.2.7"), heard)
	t.Cleanup(k.d.Close)
	heard.d = k.d
	k.server("220 mail.example.com", "", "220 mail.example.com")
	k.saidHello()
	for _, says := range []string{"MAIL FROM:<a@example.com>", "AUTH PLAIN " + b64("\x00user\x00resu")} {
		k.client(says, "", "")
		k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
		k.server("535 5.7.3 no", "", "535 5.7.8 the account is refused")
	}
	k.client("AUTH PLAIN "+b64("\x00user\x00wrong"), "", "")
	k.work("", "535 5.7.8 no")
	k.client("MAIL FROM:<a@example.com> X", "", "")
	k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
	k.server("235 ok", "", "")
	k.work("MAIL FROM:<a@example.com> X", "")
	k.server("535 5.7.8 the server's own", "", "535 5.7.8 the server's own")
	if want := []string{"535: the account is no good, get another", "535: the account is no good, get another"}; !slices.Equal(heard.told, want) {
		t.Errorf("told %q, want %q", heard.told, want)
	}
}
