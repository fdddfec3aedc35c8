package rewrite_test

import (
	"net/netip"
	"testing"
)

// afterLogin is a dialogue whose client need not log in, up to its first MAIL.
func afterLogin(t *testing.T, sender string) *talk {
	k := loginTalk(t, &books{open: netip.MustParsePrefix("192.0.2.0/24"), login: &paper{token: "t0ken", sender: sender}})
	k.saidHello()
	k.client("MAIL FROM:<ann@example.com>", "", "")
	k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
	k.server("235 2.7.0 yes", "", "")
	if sender == "" {
		sender = "ann@example.com"
	}
	k.work("MAIL FROM:<"+sender+">", "")
	k.server("550 5.1.0 not today", "", "550 5.1.0 not today")
	return k
}

// Where the login has a sender of its own, that is what the server gets.
func TestAMAILOfALoginNamesOneSender(t *testing.T) {
	for _, sender := range []string{"", "scanner@example.com"} {
		for _, line := range []string{
			"FROM:ann@example.com <ben@example.org>", "FROM:Ann <ben@example.org>", `FROM:"ann@example.com" <ben@example.org>`,
			"FROM:<ann@example.com> <ben@example.org>", "FROM:<ann@example.com> FROM:<ben@example.org>", "FROM:<ann@example.com> (ben@example.org)",
			"FROM:FROM:<ben@example.com>", "ben@example.org FROM:<ann@example.com>",
			"FROM:<ben@example.org@example.com>", "FROM:<ben@example.org,ann@example.com>", "FROM:ben@example.org,ann@example.com",
			"FROM:<ben@example.org(x)@example.com>", "FROM:<ben@example.org @example.com>", "FROM:<ben@example.org\t@example.com>",
			"FROM:<ben@example.org;@example.com>", "FROM:<ben@example.org:@example.com>", "FROM:<ben@example.org\x01@example.com>",
			`FROM:<ben@example.org\@example.com>`, "FROM:<ben@[192.0.2.1]@example.com>", "FROM:ann@example.com\v<ben@example.org>",
			"FROM:ann@example.com>", "FROM:<@example.com>", "FROM:<Scanner Room 3>", "Scanner", "FROM:<ann@example.com> =x", "FROM:<ann@example.com> SIZE=1=2",
		} {
			k := afterLogin(t, sender)
			k.client("MAIL "+line, "", "")
			if sender != "" {
				k.work("MAIL FROM:<"+sender+">", "")
				continue
			}
			k.work("", "501 5.5.4 it is not clear which part of this is the sender")
		}
	}
}

func TestAMAILOfALoginKeepsItsForm(t *testing.T) {
	for _, line := range []string{
		"MAIL FROM:ann@example.com SIZE=10", "mail from: <ann@example.com>", "MAIL FROM :<ann@example.com> BODY=8BITMIME  RET=HDRS",
		`MAIL FROM:<"ann smith"@example.com>`, `MAIL FROM:<"a\"b>"@example.com>`, "MAIL FROM:<@one.example.org,@two.example.org:ann@example.com>",
		"MAIL FROM:<ann@[192.0.2.1]>", "MAIL FROM:<ann@[IPv6:2001:db8::1]>", "MAIL FROM:<root>", "MAIL FROM:<>", "MAIL FROM:<ann+x=y%z!w@example.com> SMTPUTF8",
		"MAIL FROM:<\u00e4nn@example.com> SMTPUTF8", "MAIL FROM:<\xe4nn@example.com>", "MAIL FROM:<ann@example.com> X-NAME=<a>",
	} {
		k := afterLogin(t, "")
		k.client(line, "", "")
		k.work(line, "")
		k.server("250 ok", "", "250 ok")
	}
}

// A server may believe them of whoever is logged in, which the client is not.
func TestAMAILOfALoginSaysNotWhoElseHasSentIt(t *testing.T) {
	for _, sender := range []string{"", "scanner@example.com"} {
		for _, said := range []string{"AUTH=ben@example.org", "auth=<>", "Auth", "SUBMITTER=ben@example.org"} {
			k := afterLogin(t, sender)
			k.client("MAIL FROM:<ann@example.com> SIZE=10 "+said+" RET=HDRS", "", "")
			want := "ann@example.com"
			if sender != "" {
				want = sender
			}
			k.work("MAIL FROM:<"+want+"> SIZE=10 RET=HDRS", "")
			k.server("250 ok", "", "250 ok")
		}
	}
}

// Another yes is one to what was said before.
func TestOnlyA235IsAYesToOurAUTH(t *testing.T) {
	for _, yes := range []string{"250 ok", "250-mail.example.com|250 SIZE", "220 mail.example.com", "200 ok"} {
		k := loginTalk(t, &books{open: netip.MustParsePrefix("192.0.2.0/24")})
		k.saidHello()
		k.client("MAIL FROM:<ann@example.com>", "", "")
		k.work("AUTH XOAUTH2 "+b64("t0ken"), "")
		k.server(yes, "", "421 4.3.0 server broke the protocol")
	}
}
