package rewrite_test

import (
	"net/netip"
	"testing"

	"smtpshim/rewrite"
)

// underScope begins a dialogue with a rule named "rule" that adds " x" to NOOP,
// within a scope.
func underScope(t *testing.T, client netip.Addr, greeting string, p *rewrite.Policy, options map[string]any) *talk {
	t.Helper()
	row := appends("rule", "x", false, rewrite.VerbNOOP)
	rules, errs := rewrite.Book{Rules: []rewrite.Rule{row}}.Compile([]string{"rule"}, map[string]map[string]any{"rule": options})
	if errs != nil {
		t.Fatal(errs)
	}
	k := &talk{T: t}
	p.Rules, p.Hostname = rules, "relay.example.com"
	k.d = rewrite.New(p, client, &k.ledger)
	t.Cleanup(k.d.Close)
	k.d.Greeting([]byte(greeting + "\r\n"))
	k.d.ToClient, k.ledger = nil, ledger{}
	return k
}

// acts checks whether the rule acts now.
func (k *talk) acts(want bool) {
	k.Helper()
	line := "NOOP"
	if want {
		line += " x"
	}
	k.client("NOOP", line, "")
	k.server("250 ok", "", "250 ok")
}

func TestAScopeOfClientsHoldsForEveryFormOfAnAddress(t *testing.T) {
	for _, c := range []struct {
		network, client string
		inside          bool
	}{
		{"192.0.2.0/24", "192.0.2.7", true},
		{"192.0.2.0/24", "::ffff:192.0.2.7", true},
		{"192.0.2.0/24", "198.51.100.7", false},
		{"192.0.2.0/24", "2001:db8::7", false},
		{"192.0.2.7", "::ffff:192.0.2.7", true},
		{"::ffff:192.0.2.0/120", "192.0.2.7", true},
		{"::ffff:192.0.2.0/120", "::ffff:192.0.2.7", true},
		{"::ffff:192.0.2.7", "192.0.2.7", true},
		{"::ffff:192.0.2.7", "192.0.2.8", false},
		{"2001:db8::/32", "2001:db8::7", true},
		{"2001:db8::/32", "192.0.2.7", false},
		{"fe80::/10", "fe80::1%eth0", true},
		{"0.0.0.0/0", "192.0.2.7", true},
		{"0.0.0.0/0", "2001:db8::7", false},
		{"::/0", "2001:db8::7", true},
		{"0.0.0.0/0", "", false},
		{"::/0", "", false},
	} {
		var client netip.Addr
		if c.client != "" {
			client = netip.MustParseAddr(c.client)
		}
		k := underScope(t, client, "220 mail.example.com", &rewrite.Policy{}, map[string]any{"clients": []any{c.network}})
		k.acts(c.inside)
		if k.Failed() {
			t.Fatalf("the network %s and the client %q", c.network, c.client)
		}
	}
}

func TestAScopeOfClientsFollowsXCLIENT(t *testing.T) {
	from := []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}
	k := underScope(t, netip.MustParseAddr("192.0.2.7"), "220 mail.example.com", &rewrite.Policy{XCLIENTFrom: from},
		map[string]any{"clients": []any{"198.51.100.0/24"}})
	k.acts(false)
	for address, inside := range map[string]bool{"198.51.100.7": true, "192.0.2.7": false, "[UNAVAILABLE]": false} {
		k.client("XCLIENT ADDR="+address, "", "")
		if k.d.Next(false) != rewrite.AwaitAdmission {
			t.Fatalf("after XCLIENT the dialogue waits for %d", k.d.Next(false))
		}
		k.d.Admitted("")
		k.expect("XCLIENT", "", "220 relay.example.com ESMTP")
		k.hello()
		k.acts(inside)
	}
}

func TestAScopeOfHellosFollowsTheLastOne(t *testing.T) {
	k := underScope(t, netip.Addr{}, "220 mail.example.com", &rewrite.Policy{}, map[string]any{"hello": `^old\.`})
	k.acts(false)
	for _, c := range []struct {
		line   string
		inside bool
	}{{"EHLO old.example.net", true}, {"EHLO new.example.net", false}, {"HELO  old.example.net ", true}, {"EHLO", false}} {
		k.client(c.line, c.line, "")
		k.server("250 mail.example.com", "", "250 mail.example.com")
		k.acts(c.inside)
	}
}

func TestAScopeOfBannersFollowsEachConnection(t *testing.T) {
	k := underScope(t, netip.Addr{}, "220 mail.example.com", &rewrite.Policy{}, map[string]any{"banner": `Old`})
	k.acts(false)
	policy := &rewrite.Policy{ServerTLS: rewrite.ServerTLSOpportunistic}
	for greeting, inside := range map[string]bool{"220 mail.example.com Old 4.0": true, "220 mail.example.com New": false} {
		k := underScope(t, netip.Addr{}, "220 another", policy, map[string]any{"banner": `Old|another`})
		k.acts(true)
		k.client("EHLO client.example.net", "EHLO client.example.net", "")
		k.server("250-mail.example.com|250 STARTTLS", "STARTTLS", "")
		k.server("220 go on", "", "")
		k.d.ServerTLSFailed()
		k.server(greeting, "EHLO client.example.net", "")
		k.server("250 mail.example.com", "", "250 mail.example.com")
		k.acts(inside)
	}
}

// Replies to what was said before it are of the session as it was.
func TestAHelloCountsForTheScopeOnceItIsTaken(t *testing.T) {
	rules, errs := rewrite.Book{Rules: []rewrite.Rule{named("later", rewrite.Actions{
		Replies: rewrite.SetOf(rewrite.VerbNOOP), Reply: func(t *rewrite.Turn) { t.Reply().Lines[0] = "changed" },
	})}}.Compile([]string{"later"}, map[string]map[string]any{"later": {"hello": "^second"}})
	if errs != nil {
		t.Fatal(errs)
	}
	k := talkUnder(t, &rewrite.Policy{Rules: rules})
	k.hello()
	k.client("NOOP", "NOOP", "")
	if k.d.Command([]byte("EHLO second.example.net\r\n"), false) {
		t.Fatal("EHLO is taken before the reply to NOOP")
	}
	k.server("250 ok", "", "250 ok")
}
