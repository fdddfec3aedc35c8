package rewrite_test

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/vocabulary"
)

// An auths hears how AUTH exchanges end.
type auths struct {
	silent
	told []string
}

func (a *auths) Authenticated(side vocabulary.Side, m vocabulary.Mechanism, outcome vocabulary.AuthOutcome) {
	a.told = append(a.told, string(side)+" "+string(m)+" "+string(outcome))
}

// ledger hears it too.
func (l *ledger) Authenticated(side vocabulary.Side, m vocabulary.Mechanism, outcome vocabulary.AuthOutcome) {
	l.auths = append(l.auths, string(side)+" "+string(m)+" "+string(outcome))
}

func (k *talk) authenticated(want ...string) {
	k.Helper()
	if !slices.Equal(k.auths, want) {
		k.Errorf("told %q, want %q", k.auths, want)
	}
	k.auths = nil
}

// TestTheEndOfEachAUTHExchangeIsToldOnce plays dialogues of testdata.
func TestTheEndOfEachAUTHExchangeIsToldOnce(t *testing.T) {
	for name, want := range map[string][]string{
		// Nobody translates.
		"translate-xauth-nothing-to-do": {"server PLAIN ok", "client PLAIN ok"},
		// XAUTH NTLM becomes AUTH NTLM, and the other way round.
		"translate-xauth":                {"server NTLM ok", "client NTLM ok"},
		"translate-xauth-client-bare":    {"server NTLM ok", "client NTLM ok"},
		"translate-xauth-client-ntlmssp": {"server NTLM ok", "client NTLM ok"},
		"translate-xauth-client-refused": {"server NTLM refused", "client NTLM refused"},
		"translate-xauth-client-cancels": {"server NTLM cancelled", "client NTLM cancelled", "server NTLM ok", "client NTLM ok"},
		// Several forms are one exchange.
		"translate-xauth-server-second-form": {"server NTLM ok", "client NTLM ok"},
		"translate-xauth-server-no-form":     {"server NTLM refused", "client NTLM refused"},
		"translate-xauth-server-lost":        {"server NTLM unfinished", "client NTLM unfinished"},
		// One mechanism stands for another.
		"login-to-plain":  {"server PLAIN ok", "client LOGIN ok"},
		"split-auth-line": {"server XOAUTH2 refused", "client XOAUTH2 refused", "server XOAUTH2 ok", "client XOAUTH2 ok"},
		// What a fresh connection answers to EHLO is no answer to AUTH.
		"split-auth-line-lost":       {"server XOAUTH2 refused", "client XOAUTH2 refused", "server XOAUTH2 ok", "client XOAUTH2 ok"},
		"split-auth-line-lost-again": {"server XOAUTH2 unfinished", "client XOAUTH2 unfinished"},
		"login-json-challenge": {"server XOAUTH2 refused", "client XOAUTH2 refused", "server OAUTHBEARER refused", "client OAUTHBEARER refused",
			"server XOAUTH2 cancelled", "client XOAUTH2 cancelled"},
		// EHLO and TLS come first.
		"policy-server-tls-require-no-hello-auth": {"server PLAIN ok", "client PLAIN ok"},
		// The server is not asked.
		"policy-auth-in-clear-refused": {"client PLAIN refused"},
	} {
		t.Run(name, func(t *testing.T) {
			heard := &auths{}
			play(t, parseFile(t, filepath.Join("testdata", name+".txt")), heard)
			if !slices.Equal(heard.told, want) {
				t.Errorf("told %q, want %q", heard.told, want)
			}
		})
	}
}

// TestEveryAUTHOfAClientHasOneEnd plays all dialogues of testdata: each AUTH command that
// the client says has one end with the client, and at most one with the server.
func TestEveryAUTHOfAClientHasOneEnd(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no dialogues in testdata: %v", err)
	}
	found := 0
	for _, name := range names {
		heard := &countedAUTH{}
		play(t, parseFile(t, name), heard)
		var client, server int
		for _, told := range heard.told {
			if strings.HasPrefix(told, "client ") {
				client++
			} else {
				server++
			}
		}
		if client != heard.commands || server > client {
			t.Errorf("%s: %d AUTH commands, and told %q", name, heard.commands, heard.told)
		}
		found += client
	}
	if found < 50 {
		t.Errorf("all dialogues have %d AUTH exchanges", found)
	}
}

// A countedAUTH also counts the commands.
type countedAUTH struct {
	auths
	commands int
}

func (c *countedAUTH) Command(v rewrite.Verb) {
	if rewrite.SetOf(rewrite.VerbAUTH, rewrite.VerbXAUTH, rewrite.VerbXEXPS).Has(v) {
		c.commands++
	}
}

func TestMechanismsAreToldByTheirNames(t *testing.T) {
	const secret = "AGEAczNjcmV0"
	for command, want := range map[string]string{
		"AUTH PLAIN " + secret:               "PLAIN",
		"auth plain":                         "PLAIN",
		"AUTH=PLAIN":                         "PLAIN",
		"AUTH\tLOGIN":                        "LOGIN",
		"AUTH " + secret:                     "other",
		"AUTH":                               "other",
		"AUTH X-EVIL-" + secret:              "other",
		"AUTH SCRAM-SHA-256-PLUS":            "SCRAM-SHA-256",
		"AUTH NTLMSSP":                       "NTLM",
		"XAUTH":                              "NTLM",
		"XAUTH NTLM":                         "NTLM",
		"XAUTH LOGIN":                        "LOGIN",
		"XAUTH TlRMTVNTUAABAAAAl5IAQAAAAAA=": "NTLM",
		"X-EXPS GSSAPI":                      "GSSAPI",
	} {
		k := newTalk(t)
		k.client(command, command, "")
		k.server("535 5.7.8 no", "", "535 5.7.8 no")
		k.authenticated("server "+want+" refused", "client "+want+" refused")
	}
}

func TestLoginsOfOursAreToldOnTheirSides(t *testing.T) {
	b := &books{}
	k := loginTalk(t, b)
	k.saidHello()
	k.client("AUTH CRAM-MD5", "", "504 5.5.4 no login here by this mechanism")
	k.authenticated("client CRAM-MD5 refused")
	k.client("AUTH PLAIN", "", "")
	k.work("", "334 ")
	k.client("*", "", "501 5.7.0 the exchange is cancelled")
	k.authenticated("client PLAIN cancelled")
	k.client("AUTH PLAIN "+b64("\x00user\x00wrong"), "", "")
	k.work("", "535 5.7.8 no")
	k.authenticated("client PLAIN refused")
	k.client("AUTH PLAIN "+b64("\x00user\x00resu"), "", "")
	k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
	k.server("535 5.7.3 no", "", "535 5.7.8 the account is refused")
	k.authenticated("server XOAUTH2 refused", "client PLAIN refused")
	k.client("AUTH PLAIN "+b64("\x00user\x00resu"), "", "")
	k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
	k.server("334 "+b64("give up"), "*", "")
	k.server("501 cancelled", "", "535 5.7.8 the account is refused")
	k.authenticated("server XOAUTH2 cancelled", "client PLAIN refused")
	k.client("AUTH PLAIN "+b64("\x00user\x00resu"), "", "")
	k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
	k.server("235 ok", "", "235 2.7.0 authentication succeeded")
	k.authenticated("server XOAUTH2 ok", "client PLAIN ok")
}

// A client that need not log in says MAIL, and there is one side only.
func TestALoginForMAILIsToldOnTheServersSide(t *testing.T) {
	b := &books{open: netip.MustParsePrefix("192.0.2.0/24")}
	k := loginTalk(t, b)
	k.saidHello()
	k.client("MAIL FROM:<a@example.com>", "", "")
	k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
	k.server("454 4.7.0 not now", "", "535 5.7.8 the account is refused")
	k.authenticated("server XOAUTH2 refused")
	k.client("MAIL FROM:<a@example.com>", "", "")
	k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
	k.server("235 ok", "", "")
	k.authenticated("server XOAUTH2 ok")
	k.work("MAIL FROM:<a@example.com>", "")
	k.server("250 ok", "", "250 ok")
	k.authenticated()
}

// An exchange in which a client hangs up is told of when the session ends.
func TestAnExchangeThatASessionEndsInIsUnfinished(t *testing.T) {
	k := newTalk(t)
	k.client("AUTH LOGIN", "AUTH LOGIN", "")
	k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
	k.authenticated()
	k.d.Close()
	k.authenticated("server LOGIN unfinished", "client LOGIN unfinished")
}

// What we answer ourselves in the middle of a turn is told at once too.
func TestAnAUTHThatGetsNoTLSIsRefused(t *testing.T) {
	k := talkUnder(t, &rewrite.Policy{ServerTLS: rewrite.ServerTLSRequire})
	k.client("AUTH PLAIN AGEAYg==", "EHLO relay.example.com", "")
	k.server("250 mail.example.com", "", "454 4.7.0 TLS with the server is required and not to be had")
	k.authenticated("client PLAIN refused")
	k.client("AUTH LOGIN", "", "454 4.7.0 TLS with the server is required and not to be had")
	k.authenticated("client LOGIN refused")
	k.d.Close()
	k.authenticated()
}
