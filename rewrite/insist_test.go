package rewrite_test

import (
	"testing"

	"smtpshim/rewrite"
)

const aDay = 24 * 60 * 60

func TestAServerThatHasAnsweredEHLOIsRemembered(t *testing.T) {
	m, policy := memory{}, &rewrite.Policy{Rules: compile(t, "fall-back-to-helo")}
	k := after(t, m, policy)
	k.hello("SIZE")
	if m["ehlo"] != aDay {
		t.Errorf("remembered: %v", m)
	}
	k = after(t, m, policy)
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.lost("", "")
	k.server("220 mail.example.com", "EHLO client.example.net", "")
	k.lost("", "421 4.4.2 connection to server lost")
	delete(m, "ehlo") // as after a day
	k = after(t, m, policy)
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.lost("", "")
	k.server("220 mail.example.com", "EHLO client.example.net", "")
	k.lost("", "")
	k.server("220 mail.example.com", "HELO client.example.net", "")
	k.server("250 mail.example.com", "", "250 mail.example.com")
}

func TestAServerThatHangsUpOnEHLOIsRemembered(t *testing.T) {
	m, policy := memory{}, &rewrite.Policy{Rules: compile(t, "fall-back-to-helo")}
	k := after(t, m, policy)
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.lost("", "")
	if len(m) > 0 {
		t.Errorf("of one lost connection is remembered: %v", m)
	}
	k.server("220 mail.example.com", "EHLO client.example.net", "")
	k.lost("", "")
	k.server("220 mail.example.com", "HELO client.example.net", "")
	k.server("250 mail.example.com", "", "250 mail.example.com")
	if m["fall-back-to-helo hangs up on EHLO"] != aDay || len(m) > 1 {
		t.Errorf("remembered: %v", m)
	}
	k = after(t, m, policy)
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.lost("", "")
	k.server("220 mail.example.com", "HELO client.example.net", "")
	k.server("250 mail.example.com", "", "250 mail.example.com")
	k = after(t, m, policy)
	k.hello("SIZE")
	k = after(t, m, policy) // it has learned EHLO
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.lost("", "")
	k.server("220 mail.example.com", "EHLO client.example.net", "")
	k.lost("", "421 4.4.2 connection to server lost")
}

func TestTheWordESMTPInAGreetingPromisesEHLO(t *testing.T) {
	for greeting, promises := range map[string]bool{
		"220 mail.example.com ESMTP": true, "220 mail.example.com esmtp ready": true, "220-mail.example.com|220 (ESMTP)": true, "220 ESMTP": true,
		"220 mail.example.com": false, "220 mail.example.com ESMTPS": false, "220 esmtp-gw1x.example.com ready": true, "220 mail.example.com SMTP": false,
	} {
		k := &talk{T: t}
		k.d = rewrite.New(&rewrite.Policy{Rules: compile(t, "fall-back-to-helo")}, mailClient, &k.ledger)
		t.Cleanup(k.d.Close)
		k.server(greeting, "", greeting)
		k.client("EHLO client.example.net", "EHLO client.example.net", "")
		k.lost("", "")
		k.server(greeting, "EHLO client.example.net", "")
		answer := ""
		if promises {
			answer = "421 4.4.2 connection to server lost"
		}
		k.lost("", answer)
	}
}

func TestAnOpportunisticHandshakeThatIsLostIsTriedOnceMore(t *testing.T) {
	shakes := func(mode rewrite.ServerTLS) *talk {
		k := talkUnder(t, &rewrite.Policy{ClientTLS: rewrite.ClientTLSHide, ServerTLS: mode})
		k.client("EHLO client.example.net", "EHLO client.example.net", "")
		k.server("250-mail.example.com|250 STARTTLS", "STARTTLS", "")
		k.server("220 go on", "", "")
		k.d.ServerTLSLost()
		return k
	}
	shakes(rewrite.ServerTLSRequire).expect("server TLS lost", "", "454 4.7.0 TLS with the server is required and not to be had")
	k := shakes(rewrite.ServerTLSOpportunistic)
	k.server("220 mail.example.com ESMTP", "EHLO client.example.net", "")
	k.server("250-mail.example.com|250 STARTTLS", "STARTTLS", "")
	k.server("220 go on", "", "")
	k.d.ServerTLSLost()
	k.server("220 mail.example.com ESMTP", "EHLO client.example.net", "")
	k.server("250-mail.example.com|250 STARTTLS", "", "250 mail.example.com")
}

// A server that has refused the session in its greeting is not asked again on a fresh
// connection: there it may not know the client for what it was refused for. Source:
// Postfix 3.7.11, postscreen_greet_action = drop (521 in place of the greeting).
func TestAServerThatRefusesTheSessionInItsGreetingIsNotAskedAgain(t *testing.T) {
	for name, policy := range map[string]*rewrite.Policy{
		"without rules":        {Rules: compile(t)},
		"standard":             {Rules: compile(t, "standard")},
		"opportunistic TLS":    {Rules: compile(t, "standard"), ClientTLS: rewrite.ClientTLSHide, ServerTLS: rewrite.ServerTLSOpportunistic},
		"XCLIENT":              {Rules: compile(t, "standard"), ClientTLS: rewrite.ClientTLSHide, XCLIENT: rewrite.XCLIENTOffered},
		"a second EHLO is due": {Rules: compile(t, "standard", "second-ehlo")},
	} {
		for _, greeting := range []string{"521 5.5.1 Protocol error", "554 no", "450 later", "421 too busy"} {
			for _, says := range []string{"EHLO client.example.net", "HELO client.example.net", "MAIL FROM:<a@example.net>"} {
				k := &talk{T: t}
				k.d = rewrite.New(policy, mailClient, &k.ledger)
				t.Cleanup(k.d.Close)
				k.server(greeting, "", greeting)
				k.d.Command([]byte(says+"\r\n"), false)
				k.d.ToServer = nil
				k.d.Lost()
				if next := k.d.Next(false); next != rewrite.End || len(k.d.ToClient) > 0 {
					t.Errorf("%s: behind %q and %q the server is lost; the client gets %q, and next is %v; want the end", name, greeting, says, k.d.ToClient, next)
				}
			}
		}
	}
}

// Nor does one get a fresh connection that goes on as far as a handshake, and fails there.
func TestAServerThatRefusesTheSessionInItsGreetingIsNotAskedAgainBehindAHandshake(t *testing.T) {
	for name, fails := range map[string]func(*rewrite.Dialogue){
		"lost": (*rewrite.Dialogue).ServerTLSLost, "failed": (*rewrite.Dialogue).ServerTLSFailed, "to be tried again": (*rewrite.Dialogue).ServerTLSAgain,
	} {
		for _, greeting := range []string{"554 no", "220 mail.example.com ESMTP"} {
			k := &talk{T: t}
			k.d = rewrite.New(&rewrite.Policy{Rules: compile(t, "standard"), ClientTLS: rewrite.ClientTLSHide, ServerTLS: rewrite.ServerTLSOpportunistic}, mailClient, &k.ledger)
			t.Cleanup(k.d.Close)
			k.server(greeting, "", greeting)
			k.client("EHLO client.example.net", "EHLO client.example.net", "")
			k.server("250-mail.example.com|250 STARTTLS", "STARTTLS", "")
			k.server("220 go", "", "")
			fails(k.d)
			want := rewrite.AwaitServer
			if greeting[0] == '5' {
				want = rewrite.End
			}
			if next := k.d.Next(false); next != want {
				t.Errorf("behind %q and a handshake that is %s, next is %v, want %v", greeting, name, next, want)
			}
		}
	}
}
