package rewrite_test

import (
	"net/netip"
	"strings"
	"testing"

	"smtpshim/rewrite"
)

const reason = "of a test"

func panics(*rewrite.Turn) { panic(reason) }

// appends is a rule that adds a word to every line of this verb, or if reply is
// set to the last line of its reply.
func appends(name, word string, reply bool, verbs ...rewrite.Verb) rewrite.Rule {
	a := rewrite.Actions{}
	if reply {
		a.Replies, a.Reply = rewrite.SetOf(verbs...), func(t *rewrite.Turn) {
			if lines := t.Reply().Lines; !t.Lost() {
				lines[len(lines)-1] += " " + word
			}
		}
	} else {
		a.Commands, a.Command = rewrite.SetOf(verbs...), func(t *rewrite.Turn) { t.SetLine(string(t.Line()) + " " + word) }
	}
	return named(name, a)
}

func TestAPanicInACommandCostsTheRuleThatLine(t *testing.T) {
	for _, line := range []string{"NOOP", "EHLO client.example.net", "AUTH PLAIN AA==", "MAIL FROM:<a@example.com>", "DATA"} {
		t.Run(line, func(t *testing.T) {
			verb := rewrite.ParseVerb([]byte(line))
			k := newTalk(t,
				appends("before", "x", false, verb),
				named("bad", rewrite.Actions{Commands: rewrite.EveryVerb, Command: func(t *rewrite.Turn) {
					t.SetLine("RSET")
					t.First("RSET")
					t.Answer(rewrite.Reply{Code: 500, Lines: []string{"no"}})
					panic(reason)
				}}),
				appends("behind", "y", false, verb))
			k.client(line, line+" x y", "")
			k.server("550 no", "", "550 no")
			k.acted("before behind", "bad")
			k.panicked("bad")
			k.client("QUIT", "QUIT", "")
		})
	}
}

func TestAPanicInAReplyCostsTheRuleThatReply(t *testing.T) {
	for _, line := range []string{"NOOP", "EHLO client.example.net", "AUTH PLAIN AA==", "MAIL FROM:<a@example.com>"} {
		t.Run(line, func(t *testing.T) {
			verb := rewrite.ParseVerb([]byte(line))
			k := newTalk(t,
				appends("last", "x", true, verb),
				named("bad", rewrite.Actions{Replies: rewrite.SetOf(verb), Reply: func(t *rewrite.Turn) {
					t.Reply().Code, t.Reply().Lines[0] = 421, "changed"
					t.Again("NOOP")
					panic(reason)
				}}),
				appends("first", "y", true, verb))
			k.client(line, line, "")
			k.server("250-mail.example.com|250 DSN", "", "250-mail.example.com|250 DSN y x")
			k.acted("first last", "bad")
			k.panicked("bad")
			k.client("QUIT", "QUIT", "")
		})
	}
}

func TestAPanicOnALostServerLeavesItToOtherRules(t *testing.T) {
	k := newTalk(t,
		named("again", rewrite.Actions{Replies: rewrite.SetOf(rewrite.VerbEHLO), Reply: func(t *rewrite.Turn) {
			if t.Lost() {
				t.AgainAfresh("HELO client.example.net")
			}
		}}),
		named("bad", rewrite.Actions{Replies: rewrite.SetOf(rewrite.VerbEHLO), Reply: func(t *rewrite.Turn) {
			if t.Lost() {
				panic(reason)
			}
		}}))
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.lost("", "")
	k.server("220 mail.example.com", "HELO client.example.net", "")
	k.server("250 mail.example.com", "", "250 mail.example.com")
	k.acted("again", "bad")
	k.panicked("bad")
}

func TestAPanicOnALostServerAloneEndsTheSessionAsEver(t *testing.T) {
	k := newTalk(t, named("bad", rewrite.Actions{Replies: rewrite.SetOf(rewrite.VerbEHLO), Reply: panics}))
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.lost("", "421 4.4.2 connection to server lost")
	k.panicked("bad")
}

func TestAPanicInAnOfferLeavesTheOfferAsItWas(t *testing.T) {
	k := newTalk(t,
		named("last", rewrite.Actions{Offer: func(_ rewrite.Session, e rewrite.Extensions) { e.Add("LAST") }}),
		named("bad", rewrite.Actions{Offer: func(_ rewrite.Session, e rewrite.Extensions) {
			e.Drop("DSN", "FIRST")
			e.Set("SIZE", "1")
			panic(reason)
		}}),
		named("first", rewrite.Actions{Offer: func(_ rewrite.Session, e rewrite.Extensions) { e.Add("FIRST") }}))
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.server("250-mail.example.com|250-SIZE 100|250 DSN", "", "250-mail.example.com|250-SIZE 100|250-DSN|250-FIRST|250 LAST")
	k.acted("first last", "bad")
	k.panicked("bad")
}

func TestAPanicInALineLeavesItToOtherRules(t *testing.T) {
	k := newTalk(t,
		named("bad", rewrite.Actions{Line: func(rewrite.Session, []byte) []byte { panic(reason) }}),
		named("good", rewrite.Actions{Line: func(rewrite.Session, []byte) []byte { return []byte("NOOP") }}))
	k.d.Command([]byte("NOOP\n"), false)
	k.expect("NOOP and LF", "NOOP", "")
	k.acted("good", "bad")
	k.panicked("bad")
}

func TestAPanicInARepairLeavesItToOtherRules(t *testing.T) {
	k := newTalk(t,
		named("bad", rewrite.Actions{Repair: func(r *rewrite.Repair) {
			r.Replace(len(r.Octets()), []byte("550 changed\r\n"))
			panic(reason)
		}}),
		named("good", rewrite.Actions{Repair: func(r *rewrite.Repair) { r.Replace(len(r.Octets()), []byte("250 ok\r\n")) }}))
	k.client("NOOP", "NOOP", "")
	n, made, ok, _ := k.d.Repair([]byte("250 ok\n"), 0)
	if n != len("250 ok\n") || string(made) != "250 ok\r\n" || !ok {
		t.Errorf("%d octets become %q, %v", n, made, ok)
	}
	k.acted("good", "bad")
	k.panicked("bad")
}

func TestAPanicInTheFirstOctetsLeavesThemToOtherRules(t *testing.T) {
	rules := compileRules(t,
		named("bad", rewrite.Actions{Open: func(o *rewrite.Opening) {
			o.Wait(5000)
			panic(reason)
		}}),
		named("good", rewrite.Actions{Open: func(o *rewrite.Opening) { o.BeginTLS() }}))
	k := &talk{T: t}
	k.d = rewrite.New(&rewrite.Policy{Rules: rules, ClientTLS: rewrite.ClientTLSOffer}, netip.Addr{}, &k.ledger)
	if wait := k.d.Open([]byte{22, 3, 1}, false); wait != 0 || !k.d.BeginsTLS() {
		t.Errorf("a wait of %d ms; begins with TLS: %v", wait, k.d.BeginsTLS())
	}
	k.acted("good", "bad")
	k.panicked("bad")
}

func TestAPanicInSASLCostsTheRuleThatLine(t *testing.T) {
	k := newTalk(t,
		named("before", rewrite.Actions{SASL: func(t *rewrite.Turn) { t.SetLine(string(t.Line()) + "x") }}),
		named("bad", rewrite.Actions{SASL: func(t *rewrite.Turn) {
			t.SetLine("changed")
			t.Answer(rewrite.Reply{Code: 235, Lines: []string{"ok"}})
			t.Swallow()
			panic(reason)
		}}),
		named("behind", rewrite.Actions{SASL: func(t *rewrite.Turn) { t.SetLine(string(t.Line()) + "y") }}))
	k.client("AUTH LOGIN", "AUTH LOGIN", "")
	k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
	k.client("dXNlcg==", "dXNlcg==xy", "")
	k.panicked("bad")
	k.server("334 UGFzc3dvcmQ6", "", "334 UGFzc3dvcmQ6")
	k.client("c2VjcmV0", "c2VjcmV0xy", "")
	k.server("235 ok", "", "235 ok")
	k.acted("before before behind behind", "bad bad")
}

func TestAPanicInTheStateIsOneOfTheFunctionThatAsksForIt(t *testing.T) {
	k := newTalk(t, named("bad", rewrite.Actions{State: func() any { panic(reason) },
		Commands: rewrite.SetOf(rewrite.VerbNOOP), Command: func(t *rewrite.Turn) {
			t.SetLine("RSET")
			t.State()
		}}))
	k.client("NOOP", "NOOP", "")
	k.panicked("bad")
	k.server("250 ok", "", "250 ok")
	k.acted("", "bad")
}

// Nothing of the message has gone out yet.
func TestAPanicWhenAMessageBeginsLetsItPassWithoutTheRule(t *testing.T) {
	k := newTalk(t,
		named("bad", rewrite.Actions{Message: func(m *rewrite.Text) rewrite.Filter {
			m.EndsAtLF()
			m.Applied()
			m.Refuse(rewrite.Reply{Code: 554, Lines: []string{"5.6.0 no"}})
			panic(reason)
		}}),
		named("good", rewrite.Actions{Message: func(m *rewrite.Text) rewrite.Filter {
			return rewrite.Filter{Text: func(m *rewrite.Text, dst, src []byte) []byte {
				m.Applied()
				return append(dst, strings.ToUpper(string(src))...)
			}}
		}}))
	k.transaction()
	out, _, end := k.d.Text().Next(nil, []byte("a\n.\nb\r\n.\r\n"))
	if string(out) != "A\r\n..\r\nB\r\n.\r\n" || !end || k.d.Text().Refusal() != "" {
		t.Errorf("%q goes out, end %v, refusal %q", out, end, k.d.Text().Refusal())
	}
	k.d.MessageEnd(8)
	k.acted("good", "bad")
	k.panicked("bad")
}

func TestAPanicWithinAMessageRefusesIt(t *testing.T) {
	for name, f := range map[string]rewrite.Filter{
		"text": {Text: func(*rewrite.Text, []byte, []byte) []byte { panic(reason) }},
		"look": {Look: func(*rewrite.Text) { panic(reason) }},
	} {
		for _, sent := range []string{"a\r\n", "a\r\n\r\nb\r\n", "\r\n", "a\r\n\r\nb\r\n.\r\n"} {
			t.Run(name, func(t *testing.T) {
				k := newTalk(t, named("bad", rewrite.Actions{Message: func(*rewrite.Text) rewrite.Filter { return f }}))
				k.transaction()
				k.d.Text().Next(nil, []byte(sent))
				why := k.d.Text().Refusal()
				if !strings.HasPrefix(why, "451 ") {
					t.Fatalf("%q is refused with %q", sent, why)
				}
				k.d.Text().Next(nil, []byte("more\r\n"))
				k.panicked("bad")
				k.d.RefuseMessage(why)
				k.d.MessageEnd(3)
				k.expect("the message", "", why)
				k.acted("", "bad")
			})
		}
	}
}
