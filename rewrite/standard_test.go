package rewrite_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// kept is a listener that keeps what it hears of rules and replies.
type kept struct {
	silent
	applied, broke []string
	codes          []int
}

func (k *kept) Replied(_ rewrite.Verb, c int, _ []byte) { k.codes = append(k.codes, c) }
func (k *kept) Applied(rule string)                     { k.applied = append(k.applied, rule) }
func (k *kept) Broke(rule, _ string)                    { k.broke = append(k.broke, rule) }
func (k *kept) lastCode() int                           { return k.codes[len(k.codes)-1] }

// standard are the rules of the set of this name.
func standard(t testing.TB) *rewrite.Rules { return compile(t, "standard") }

func compile(t testing.TB, names ...string) *rewrite.Rules {
	t.Helper()
	rules, errs := heal.Compile(names, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	return rules
}

// begin begins a dialogue, past its greeting.
func begin(t testing.TB, rules *rewrite.Rules) (*rewrite.Dialogue, *kept) {
	t.Helper()
	k := &kept{}
	d := rewrite.New(&rewrite.Policy{Rules: rules, Hostname: "relay.example.com", Limits: rewrite.Limits{Errors: 20}}, netip.MustParseAddr("192.0.2.7"), k)
	t.Cleanup(d.Close)
	d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
	if d.Next(false) != rewrite.AwaitCommand {
		t.Fatalf("after the greeting the dialogue waits for %d", d.Next(false))
	}
	d.ToClient, k.codes = nil, nil
	return d, k
}

// sendMessage goes as far as the final dot.
func sendMessage(d *rewrite.Dialogue) {
	d.Command([]byte("DATA\r\n"), false)
	d.Reply([]byte("354 go on\r\n"), false, false)
	d.MessageEnd(5)
}

// Whatever a server refuses, neither the standard rules make a yes of it, nor all
// rules, nor any of them alone.
func TestNoRulesRaiseARefusal(t *testing.T) {
	var every []int
	for code := 400; code < 600; code++ {
		every = append(every, code)
	}
	refuses(t, "the standard rules", standard(t), every)
	refuses(t, "all rules", everyRule(t), every)
	for _, r := range heal.Table() {
		names, options := withOptions([]rewrite.Rule{r}, nil, func(n int) int { return n - 1 })
		refuses(t, r.Name, compileChosen(t, names, options), []int{421, 450, 451, 452, 454, 500, 501, 502, 503, 504, 505, 521, 530, 535, 550, 552, 553, 554, 555})
	}
}

// refuses has a server refuse all commands with these codes.
func refuses(t *testing.T, name string, rules *rewrite.Rules, codes []int) {
	for _, code := range codes {
		for _, text := range []string{"no", "5.7.0 Must issue a STARTTLS command first", "5.5.4 Invalid Address", "ESMTP"} {
			refusal := fmt.Appendf(nil, "%d-%s\r\n%d %[2]s\r\n", code, text, code)
			for _, line := range []string{"MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "NOOP", "VRFY b", "AUTH PLAIN AA==", "HELO x"} {
				d, k := begin(t, rules)
				d.Command([]byte(line+"\r\n"), false)
				for range 5 { // a rule may have it said again
					if len(k.codes) == 0 {
						d.Reply(refusal, false, false)
					}
				}
				if len(k.codes) == 0 || k.lastCode() < 400 {
					t.Fatalf("%s: %s: %q became %v", name, line, refusal, k.codes)
				}
			}
			d, k := begin(t, rules)
			sendMessage(d)
			d.Reply(fmt.Appendf(nil, "%d %s\r\n", code, text), false, false)
			if k.lastCode() < 400 {
				t.Fatalf("%s: a message: %d %s became %d", name, code, text, k.lastCode())
			}
		}
	}
}

// Once for each turn, however often it is said, and when the client has its answer.
func TestARuleIsCountedOnce(t *testing.T) {
	d, k := begin(t, standard(t))
	d.Command([]byte("EHLO sub2.\r\n"), false)
	d.Reply([]byte("501 Invalid Address\r\n"), false, false)
	d.Reply([]byte("500 what?\r\n"), false, false)
	d.Reply([]byte("250-mail.example.com\r\n250 DSN\r\n"), false, false)
	slices.Sort(k.applied)
	if want := []string{"fall-back-to-helo", "fix-hello-name"}; !slices.Equal(k.applied, want) {
		t.Errorf("counted %q, not %q", k.applied, want)
	}
}
