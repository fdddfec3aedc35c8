package rewrite_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
)

// A ledger is a tracer that keeps what a test asks about.
type ledger struct {
	silent
	applied []string
	broke   []string // names of rules
	whys    []string // why each of them broke
	codes   []int
	auths   []string // "side mechanism outcome"
	traced  []string // "C said -> got (rules)"
}

func (l *ledger) Replied(_ rewrite.Verb, c int, _ []byte) { l.codes = append(l.codes, c) }
func (l *ledger) Applied(rule string)                     { l.applied = append(l.applied, rule) }
func (l *ledger) Broke(rule, why string) {
	l.broke, l.whys = append(l.broke, rule), append(l.whys, why)
}
func (l *ledger) Event(what string) { l.traced = append(l.traced, "~ "+what) }
func (l *ledger) Exchanged(side byte, said, got []string, by rewrite.Causes) {
	l.traced = append(l.traced, fmt.Sprintf("%c %s -> %s (%s)", side, strings.Join(said, "|"), strings.Join(got, "|"), by.Rules))
}

// A talk is a dialogue whose two sides a test plays.
type talk struct {
	*testing.T
	ledger
	d *rewrite.Dialogue
}

// named is a rule of a test's own.
func named(name string, a rewrite.Actions) rewrite.Rule {
	return rewrite.Rule{Name: name, Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) { return a, nil }}
}

// compileRules puts rules of a test's own in force, in this order.
func compileRules(t testing.TB, rules ...rewrite.Rule) *rewrite.Rules {
	t.Helper()
	var names []string
	for _, r := range rules {
		names = append(names, r.Name)
	}
	compiled, errs := rewrite.Book{Rules: rules}.Compile(names, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	return compiled
}

// newTalk begins a dialogue, past its greeting, under these rules.
func newTalk(t *testing.T, rules ...rewrite.Rule) *talk {
	t.Helper()
	return talkUnder(t, &rewrite.Policy{Rules: compileRules(t, rules...)})
}

func talkUnder(t *testing.T, p *rewrite.Policy) *talk {
	t.Helper()
	k := &talk{T: t}
	p.Hostname, p.Limits.Errors = "relay.example.com", 20
	k.d = rewrite.New(p, netip.MustParseAddr("192.0.2.7"), &k.ledger)
	t.Cleanup(k.d.Close)
	k.d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
	k.d.ToClient, k.ledger = nil, ledger{}
	return k
}

// client says a line, of which the server is to get and the client to hear these
// lines, joined with "|".
func (k *talk) client(line, toServer, toClient string) {
	k.Helper()
	switch next := k.d.Next(true); {
	case next == rewrite.AwaitSASL:
		k.d.SASL([]byte(line + "\r\n"))
	case !k.d.Command([]byte(line+"\r\n"), false):
		k.Fatalf("%q is not taken", line)
	}
	k.expect(line, toServer, toClient)
}

// server gives a reply, whose lines are joined with "|".
func (k *talk) server(reply, toServer, toClient string) {
	k.Helper()
	raw := strings.ReplaceAll(reply, "|", "\r\n") + "\r\n"
	switch next := k.d.Next(false); next {
	case rewrite.AwaitServer:
		k.d.Greeting([]byte(raw))
	default:
		k.d.Reply([]byte(raw), false, false)
	}
	k.expect(reply, toServer, toClient)
}

// lost has the server hang up.
func (k *talk) lost(toServer, toClient string) {
	k.Helper()
	k.d.Lost()
	k.expect("server lost", toServer, toClient)
}

// expect compares what is to be written with what is wanted.
func (k *talk) expect(behind, toServer, toClient string) {
	k.Helper()
	server, client := joined(k.d.ToServer), joined(k.d.ToClient)
	k.d.ToServer, k.d.ToClient = nil, nil
	if server != toServer {
		k.Errorf("behind %q the server gets %q, not %q; broke: %q", behind, server, toServer, k.whys)
	}
	if client != toClient {
		k.Errorf("behind %q the client gets %q, not %q; broke: %q", behind, client, toClient, k.whys)
	}
}

func joined(b []byte) string {
	return strings.ReplaceAll(strings.TrimSuffix(string(b), "\r\n"), "\r\n", "|")
}

// hello has the client say EHLO, and the server answer with these keywords.
func (k *talk) hello(keywords ...string) {
	k.Helper()
	k.d.Command([]byte("EHLO client.example.net\r\n"), false)
	reply := rewrite.Reply{Code: 250, Lines: append([]string{"mail.example.com"}, keywords...)}
	k.d.Reply(reply.AppendTo(nil), false, false)
	if k.d.Next(false) != rewrite.AwaitCommand {
		k.Fatalf("after EHLO the dialogue waits for %d", k.d.Next(false))
	}
	k.d.ToServer, k.d.ToClient, k.ledger = nil, nil, ledger{}
}

// transaction goes as far as the 354.
func (k *talk) transaction() {
	k.Helper()
	for _, said := range [][2]string{
		{"MAIL FROM:<a@example.com>", "250 ok"}, {"RCPT TO:<b@example.net>", "250 ok"}, {"DATA", "354 go on"},
	} {
		k.d.Command([]byte(said[0]+"\r\n"), false)
		k.d.Reply([]byte(said[1]+"\r\n"), false, false)
	}
	if k.d.Next(false) != rewrite.AwaitMessage {
		k.Fatalf("after DATA the dialogue waits for %d", k.d.Next(false))
	}
	k.d.ToServer, k.d.ToClient, k.ledger = nil, nil, ledger{}
}

// acted checks which rules were counted and which broke, in any order.
func (k *talk) acted(applied, broke string) {
	k.Helper()
	sorted := func(names []string) string { return strings.Join(slices.Sorted(slices.Values(names)), " ") }
	if got := sorted(k.applied); got != applied {
		k.Errorf("counted %q, not %q", got, applied)
	}
	if got := sorted(k.broke); got != broke {
		k.Errorf("broke %q, not %q: %q", got, broke, k.whys)
	}
}

// panicked checks that the rule broke once, and that it is told how.
func (k *talk) panicked(rule string) {
	k.Helper()
	if len(k.broke) != 1 || k.broke[0] != rule {
		k.Errorf("broke %q, not %q", k.broke, rule)
		return
	}
	if why := k.whys[0]; !strings.Contains(why, "panic: of a test") || !strings.Contains(why, "goroutine ") {
		k.Errorf("the reason is %q", why)
	}
}

// traces checks that the tracer has heard of this.
func (k *talk) traces(want ...string) {
	k.Helper()
	for _, w := range want {
		if !slices.Contains(k.traced, w) {
			k.Errorf("%q is not in the trace:\n%s", w, strings.Join(k.traced, "\n"))
		}
	}
}
