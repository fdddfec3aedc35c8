package rewrite_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
)

// memory keeps what sessions remember, and for how many seconds.
type memory map[string]int

func (m memory) Remember(key string, seconds int) { m[key] = seconds }
func (m memory) Remembers(key string) bool        { return m[key] > 0 }

// after begins a session with a server of which this is remembered.
func after(t *testing.T, m memory, p *rewrite.Policy) *talk {
	t.Helper()
	k := &talk{T: t}
	k.d = rewrite.New(p, netip.Addr{}, &k.ledger)
	t.Cleanup(k.d.Close)
	if m != nil {
		k.d.Serves(m)
	}
	k.server("220 mail.example.com", "", "220 mail.example.com")
	return k
}

func TestOpportunisticTLSThatFailedIsNotTriedAgain(t *testing.T) {
	for name, fail := range map[string]func(k *talk){
		"the handshake": func(k *talk) {
			k.server("220 go on", "", "")
			k.d.ServerTLSFailed()
			k.server("220 mail.example.com", "EHLO client.example.net", "")
			k.server("250 mail.example.com", "", "250 mail.example.com")
		},
		"the command": func(k *talk) {
			k.server("454 no", "", "250 mail.example.com")
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, policy := memory{}, &rewrite.Policy{ClientTLS: rewrite.ClientTLSHide, ServerTLS: rewrite.ServerTLSOpportunistic}
			k := after(t, m, policy)
			k.client("EHLO client.example.net", "EHLO client.example.net", "")
			k.server("250-mail.example.com|250 STARTTLS", "STARTTLS", "")
			fail(k)
			if seconds := m["server_tls"]; seconds != 1800 {
				t.Errorf("remembered for %d seconds, not for half an hour", seconds)
			}
			k = after(t, m, policy)
			k.client("EHLO client.example.net", "EHLO client.example.net", "")
			k.server("250-mail.example.com|250 STARTTLS", "", "250 mail.example.com")
			k = after(t, m, &rewrite.Policy{ServerTLS: rewrite.ServerTLSRequire}) // which has no choice
			k.client("EHLO client.example.net", "EHLO client.example.net", "")
			k.server("250-mail.example.com|250 STARTTLS", "STARTTLS", "")
			clear(m)
			k = after(t, m, policy)
			k.client("EHLO client.example.net", "EHLO client.example.net", "")
			k.server("250-mail.example.com|250 STARTTLS", "STARTTLS", "")
		})
	}
}

func TestRulesDoNotRememberForEachOther(t *testing.T) {
	remembers := func(name, key string, had *[]string) rewrite.Rule {
		return named(name, rewrite.Actions{Commands: onNOOP, Command: func(t *rewrite.Turn) {
			if t.Remembers(key) {
				*had = append(*had, name)
			}
			t.Remember(key, 60)
		}})
	}
	m, had := memory{}, []string{}
	rules := compileRules(t, remembers("one", "key", &had), remembers("one-key", "", &had), remembers("two", "key", &had),
		remembers("server_tls", "", &had))
	policy := &rewrite.Policy{Rules: rules, ClientTLS: rewrite.ClientTLSHide, ServerTLS: rewrite.ServerTLSOpportunistic}
	k := after(t, m, policy)
	k.client("NOOP", "NOOP", "")
	k.server("250 ok", "", "250 ok")
	if len(had) > 0 || len(m) != 4 {
		t.Errorf("%q remembered at once; kept: %q", had, slices.Sorted(maps.Keys(m)))
	}
	k = after(t, m, policy)
	k.client("NOOP", "NOOP", "")
	if len(had) != 4 {
		t.Errorf("%q remembered", had)
	}
	k.server("250 ok", "", "250 ok")
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.server("250-mail.example.com|250 STARTTLS", "STARTTLS", "")
}

func TestWithoutAMemoryNothingIsRemembered(t *testing.T) {
	had := false
	k := after(t, nil, &rewrite.Policy{Rules: compileRules(t, named("rule", rewrite.Actions{Commands: onNOOP, Command: func(t *rewrite.Turn) {
		t.Remember("key", 60)
		had = had || t.Remembers("key")
	}}))})
	for range 2 {
		k.client("NOOP", "NOOP", "")
		k.server("250 ok", "", "250 ok")
	}
	if had {
		t.Error("it was remembered")
	}
	k.acted("", "")
}

// Its client need never let the queue run empty.
func TestAGroupWithoutAnEndTakesNoMoreMemory(t *testing.T) {
	k := newTalk(t, onReplies(func(*rewrite.Turn) {}))
	k.hello("PIPELINING")
	line, reply := []byte("MAIL FROM:<"+strings.Repeat("a", 1000)+"@example.com>\r\n"), []byte("503 5.5.1 nested MAIL\r\n")
	k.d.Command(line, true)
	for range 20000 {
		if k.d.Next(true) != rewrite.AwaitCommand || !k.d.Command(line, true) {
			t.Fatal("the group has ended")
		}
		k.d.Reply(reply, true, true)
		k.d.ToServer, k.d.ToClient = k.d.ToServer[:0], k.d.ToClient[:0]
	}
	if n := rewrite.KeptOfSent(k.d); n > 1<<20 {
		t.Errorf("%d octets are kept of one command", n)
	}
}
