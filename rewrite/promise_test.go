package rewrite

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite/vocabulary"
)

// kept is a listener that keeps what it hears of rules and replies.
type kept struct {
	applied, broke, limits []string
	codes                  []int
}

func (k *kept) Command(Verb)                    {}
func (k *kept) Replied(_ Verb, c int, _ []byte) { k.codes = append(k.codes, c) }
func (k *kept) Applied(rule string)             { k.applied = append(k.applied, rule) }
func (k *kept) Broke(rule, _ string)            { k.broke = append(k.broke, rule) }
func (k *kept) Limited(limit vocabulary.Limit)  { k.limits = append(k.limits, string(limit)) }
func (k *kept) Authenticated(vocabulary.Side, vocabulary.Mechanism, vocabulary.AuthOutcome) {
}
func (k *kept) lastCode() int { return k.codes[len(k.codes)-1] }

// withRule begins a dialogue, past its greeting, with one rule that does this
// to commands and replies of every verb.
func withRule(t *testing.T, command, reply func(*Turn)) (*Dialogue, *kept) {
	t.Helper()
	return begin(t, inForce(active{"bad", scope{}, Actions{
		Command: command, Commands: EveryVerb, Reply: reply, Replies: EveryVerb &^ SetOf(VerbGreeting),
	}}))
}

// inForce are rules of a test's own.
func inForce(rules ...active) *Rules {
	r := &Rules{}
	for _, a := range rules {
		r.add(a)
	}
	return r
}

func begin(t testing.TB, rules *Rules) (*Dialogue, *kept) {
	t.Helper()
	k := &kept{}
	d := New(&Policy{Rules: rules, Hostname: "relay.example.com", Limits: Limits{Errors: 20}}, netip.MustParseAddr("192.0.2.7"), k)
	d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
	if d.Next(false) != AwaitCommand {
		t.Fatalf("after the greeting the dialogue waits for %d", d.Next(false))
	}
	d.ToClient, k.codes = nil, nil
	return d, k
}

func TestACommandThatARuleBreaksPassesAsItCame(t *testing.T) {
	for name, breakIt := range map[string]func(*Turn){
		"two lines":         func(t *Turn) { t.SetLine("NOOP\r\nQUIT") },
		"a bare LF":         func(t *Turn) { t.SetLine("NOOP\nQUIT") },
		"a bare CR":         func(t *Turn) { t.SetLine("NOOP\r") },
		"a NUL":             func(t *Turn) { t.SetLine("NOOP\x00") },
		"nothing":           func(t *Turn) { t.SetLine("") },
		"an answer in two":  func(t *Turn) { t.Answer(Reply{250, []string{"ok\r\n250 ok"}}) },
		"an empty answer":   func(t *Turn) { t.Answer(Reply{250, nil}) },
		"a code of 20":      func(t *Turn) { t.Answer(Reply{20, []string{"ok"}}) },
		"a code of 600":     func(t *Turn) { t.Answer(Reply{600, []string{"ok"}}) },
		"an invitation":     func(t *Turn) { t.Answer(Reply{354, []string{"go on"}}) },
		"two to say first":  func(t *Turn) { t.First("RSET\r\nRSET") },
		"a long answer":     func(t *Turn) { t.Answer(Reply{250, []string{strings.Repeat("x", 5000)}}) },
		"a NUL to be first": func(t *Turn) { t.First("RSET\x00") },
	} {
		for _, line := range []string{"NOOP", "EHLO client.example.net", "MAIL FROM:<a@example.com>", "DATA"} {
			t.Run(name+" for "+line, func(t *testing.T) {
				d, k := withRule(t, breakIt, nil)
				if !d.Command([]byte(line+"\r\n"), false) {
					t.Fatal("the command is not taken")
				}
				if got := string(d.ToServer); got != line+"\r\n" {
					t.Errorf("the server gets %q", got)
				}
				if len(d.ToClient) > 0 {
					t.Errorf("the client gets %q", d.ToClient)
				}
				if !slices.Equal(k.broke, []string{"bad"}) || len(k.applied) > 0 {
					t.Errorf("broke %q, applied %q", k.broke, k.applied)
				}
			})
		}
	}
}

func TestAReplyThatARuleBreaksPassesAsItCame(t *testing.T) {
	for name, breakIt := range map[string]func(*Reply){
		"two lines":   func(r *Reply) { r.Lines = []string{"ok\r\n250 ok"} },
		"a bare LF":   func(r *Reply) { r.Lines[0] = "ok\n" },
		"a NUL":       func(r *Reply) { r.Lines[0] = "\x00" },
		"no line":     func(r *Reply) { r.Lines = nil },
		"code 99":     func(r *Reply) { r.Code = 99 },
		"code 1000":   func(r *Reply) { r.Code = 1000 },
		"too long":    func(r *Reply) { r.Lines[0] = strings.Repeat("x", 5000) },
		"354 for 250": func(r *Reply) { r.Code = 354 },
	} {
		for _, line := range []string{"NOOP", "EHLO client.example.net", "MAIL FROM:<a@example.com>"} {
			t.Run(name+" for "+line, func(t *testing.T) {
				d, k := withRule(t, nil, func(t *Turn) { breakIt(t.Reply()) })
				d.Command([]byte(line+"\r\n"), false)
				d.Reply([]byte("250-a\r\n250 b\r\n"), false, false)
				if got := string(d.ToClient); got != "250-a\r\n250 b\r\n" {
					t.Errorf("the client gets %q", got)
				}
				if !slices.Equal(k.broke, []string{"bad"}) || len(k.applied) > 0 {
					t.Errorf("broke %q, applied %q", k.broke, k.applied)
				}
			})
		}
	}
}

// A reply without a text would have a blank behind its code if it were made anew.
func TestAReplyThatRulesChangeToAndFroPassesAsItCame(t *testing.T) {
	says := func(text string) Actions {
		return Actions{Reply: func(t *Turn) { t.Reply().Lines[0] = text }, Replies: SetOf(VerbMessage)}
	}
	d, k := begin(t, inForce(active{"fro", scope{}, says("")}, active{"to", scope{}, says("taken")}))
	for _, said := range []struct{ command, reply string }{
		{"EHLO client.example.net", "250 mail.example.com"}, {"MAIL FROM:<a@example.net>", "250 ok"}, {"RCPT TO:<b@example.com>", "250 ok"}, {"DATA", "354 go on"},
	} {
		d.Command([]byte(said.command+"\r\n"), false)
		d.Reply([]byte(said.reply+"\r\n"), false, false)
	}
	d.ToClient = nil
	d.MessageEnd(3)
	d.Reply([]byte("250\r\n"), false, false)
	if got := string(d.ToClient); got != "250\r\n" || len(k.applied) > 0 {
		t.Errorf("the client got %q, and %q acted", got, k.applied)
	}
}

func TestNoRuleCanRaiseARefusal(t *testing.T) {
	for _, to := range []int{200, 220, 235, 250, 299, 334, 354} {
		for _, from := range []int{400, 421, 450, 500, 554, 599} {
			for _, line := range []string{"EHLO client.example.net", "AUTH LOGIN", "RCPT TO:<b@example.net>", "DATA"} {
				d, k := withRule(t, nil, func(t *Turn) { t.Reply().Code = to })
				d.Command([]byte(line+"\r\n"), false)
				d.Reply(fmt.Appendf(nil, "%d no\r\n", from), false, false)
				if k.lastCode() != from || len(k.broke) != 1 {
					t.Errorf("%s: %d became %d, and %d rules were reported", line, from, k.lastCode(), len(k.broke))
				}
			}
			d, k := withRule(t, nil, func(t *Turn) {
				if t.Verb() == VerbMessage {
					t.Reply().Code = to
				}
			})
			sendMessage(d)
			d.Reply(fmt.Appendf(nil, "%d no\r\n", from), false, false)
			if k.lastCode() != from || len(k.broke) != 1 {
				t.Errorf("a message: %d became %d, and %d rules were reported", from, k.lastCode(), len(k.broke))
			}
		}
	}
}

// sendMessage goes as far as the final dot.
func sendMessage(d *Dialogue) {
	d.Command([]byte("DATA\r\n"), false)
	d.Reply([]byte("354 go on\r\n"), false, false)
	d.MessageEnd(5)
}

func TestARuleMayMakeARefusalTemporary(t *testing.T) {
	d, k := withRule(t, nil, func(t *Turn) { t.Reply().Code = 451 })
	d.Command([]byte("RCPT TO:<b@example.net>\r\n"), false)
	d.Reply([]byte("550 no\r\n"), false, false)
	if k.lastCode() != 451 || !slices.Equal(k.applied, []string{"bad"}) {
		t.Errorf("the client got %d, and %q was counted", k.lastCode(), k.applied)
	}
}

func TestARuleThatNeverHasEnoughIsStopped(t *testing.T) {
	for name, again := range map[string]func(*Turn){
		"on the same connection": func(t *Turn) { t.Again(string(t.Line())) },
		"on fresh ones":          func(t *Turn) { t.AgainAfresh(string(t.Line())) },
	} {
		t.Run(name, func(t *testing.T) {
			d, k := withRule(t, nil, again)
			d.Command([]byte("EHLO client.example.net\r\n"), false)
			said, connections := 0, 0
			for said < 100 && d.Next(false) != End {
				if len(d.ToServer) > 0 {
					said++
				}
				d.ToServer = nil
				if d.Next(false) == AwaitServer {
					connections++
					d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
				} else {
					d.Reply([]byte("500 what?\r\n"), false, false)
				}
			}
			if said > 1+maxAgain || connections > maxFresh {
				t.Errorf("%d commands were said, on %d fresh connections", said, connections)
			}
			if k.lastCode() != 421 {
				t.Errorf("in the end the client got %d", k.lastCode())
			}
		})
	}
}

func TestWhatCouldBeDoneTwiceIsNotSaidAgain(t *testing.T) {
	for _, line := range []string{"RCPT TO:<b@example.net>", "DATA", "VRFY b", "NOOP", "RSET", "QUIT", "ETRN example.com", "XYZZY"} {
		d, k := withRule(t, nil, func(t *Turn) { t.Again(string(t.Said()) + "NOOP") })
		d.Command([]byte(line+"\r\n"), false)
		d.ToServer = nil
		d.Reply([]byte("500 no\r\n"), false, false)
		if len(d.ToServer) > 0 || len(k.broke) != 1 || string(d.ToClient) != "500 no\r\n" {
			t.Errorf("%s: the server gets %q, the client %q; %d were reported", line, d.ToServer, d.ToClient, len(k.broke))
		}
	}
}

func TestAfterAChallengeNothingIsSaidAgain(t *testing.T) {
	asked := false
	d, k := withRule(t, nil, func(t *Turn) {
		if asked {
			t.Again("AUTH LOGIN")
		}
	})
	d.Command([]byte("AUTH LOGIN\r\n"), false)
	d.Reply([]byte("334 VXNlcm5hbWU6\r\n"), false, false)
	d.SASL([]byte("dXNlcg==\r\n"))
	asked, d.ToServer, d.ToClient = true, nil, nil
	d.Reply([]byte("535 no\r\n"), false, false)
	if len(d.ToServer) > 0 || string(d.ToClient) != "535 no\r\n" || len(k.broke) != 1 {
		t.Errorf("the server gets %q, the client %q; %d were reported", d.ToServer, d.ToClient, len(k.broke))
	}
}

func TestAReplyFunctionSeesTheCommandThatItAnswers(t *testing.T) {
	var seen []string
	d, _ := begin(t, inForce(active{"watch", scope{}, Actions{
		Commands: SetOf(VerbRCPT), Command: func(t *Turn) {
			if string(t.Line()) == "RCPT TO:<b@example.net>" {
				t.SetLine("RCPT TO:<changed@example.net>")
			}
		},
		Refusals: EveryVerb, Reply: func(t *Turn) {
			seen = append(seen, fmt.Sprintf("%d %s %s", t.Reply().Code, t.Said(), t.Line()))
		},
	}}))
	d.Command([]byte("EHLO client.example.net\r\n"), false)
	d.Reply([]byte("250-mail.example.com\r\n250 PIPELINING\r\n"), false, false)
	for range 2 {
		for _, line := range []string{"MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "RCPT TO:<c@example.net>"} {
			if !d.Command([]byte(line+"\r\n"), true) {
				t.Fatalf("%s is not taken", line)
			}
		}
		d.Reply([]byte("250 ok\r\n"), false, false)
		d.Reply([]byte("550 no\r\n"), false, false)
		d.Reply([]byte("551 no\r\n"), false, false)
		d.ToServer, d.ToClient = nil, nil
	}
	want := []string{"550 RCPT TO:<b@example.net> RCPT TO:<changed@example.net>", "551 RCPT TO:<c@example.net> RCPT TO:<c@example.net>"}
	if want = append(want, want...); !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}
