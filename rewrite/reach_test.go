package rewrite

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite/vocabulary"
)

// oneRule is one rule in force.
func oneRule(a Actions) *Rules { return inForce(active{"rule", scope{}, a}) }

func TestARuleSeesAGreetingThatRefuses(t *testing.T) {
	d := New(&Policy{Rules: oneRule(Actions{Replies: SetOf(VerbGreeting), Reply: func(t *Turn) {
		t.Reply().Lines = []string{"one line"}
	}})}, netip.Addr{}, &kept{})
	d.Greeting([]byte("521-no\r\n521 mail\r\n"))
	if got := string(d.ToClient); got != "521 one line\r\n" {
		t.Errorf("the client gets %q", got)
	}
}

func TestARepairKnowsThatAGreetingIsAwaited(t *testing.T) {
	var awaited []Verb
	d := New(&Policy{Rules: oneRule(Actions{Repair: func(r *Repair) {
		awaited = append(awaited, r.Awaited())
		r.Replace(len(r.Octets()), nil)
	}})}, netip.Addr{}, &kept{})
	if _, _, ok, _ := d.Repair([]byte("220 mail.example.com\n"), 0); ok {
		t.Error("a rule drops a greeting")
	}
	if !slices.Equal(awaited, []Verb{VerbGreeting}) {
		t.Errorf("awaited %v", awaited)
	}
}

func TestARuleDropsABlankCommandLine(t *testing.T) {
	d, k := begin(t, oneRule(Actions{Commands: SetOf(VerbOther), Command: func(t *Turn) {
		if strings.TrimSpace(string(t.Said())) == "" || string(t.Said()) == "XYZZY" {
			t.Swallow()
		}
	}}))
	for _, line := range []string{"", " \t"} {
		d.Command([]byte(line+"\r\n"), false)
		if len(d.ToServer)+len(d.ToClient) > 0 || d.Next(false) != AwaitCommand {
			t.Errorf("%q: the server gets %q, the client %q", line, d.ToServer, d.ToClient)
		}
	}
	d.Command([]byte("XYZZY\r\n"), false)
	if string(d.ToServer) != "XYZZY\r\n" || len(k.broke) != 1 {
		t.Errorf("a command is dropped, and %d faults are told of", len(k.broke))
	}
}

func TestARuleAnswersAChallengeWithAnEmptyLine(t *testing.T) {
	d, _ := begin(t, oneRule(Actions{Replies: SetOf(VerbAUTH), Reply: func(t *Turn) {
		if t.Reply().Code == 334 {
			t.Again("")
		}
	}}))
	d.Command([]byte("AUTH XOAUTH2 dG9rZW4=\r\n"), false)
	d.ToServer = nil
	d.Reply([]byte("334 eyJzdGF0dXMiOiI0MDAifQ==\r\n"), false, false)
	if string(d.ToServer) != "\r\n" {
		t.Errorf("the server gets %q", d.ToServer)
	}
	d.Reply([]byte("535 5.7.8 no\r\n"), false, false)
	if string(d.ToClient) != "535 5.7.8 no\r\n" {
		t.Errorf("the client gets %q", d.ToClient)
	}
}

func TestA421OfARuleIsNotTheServers(t *testing.T) {
	d, _ := begin(t, oneRule(Actions{Commands: SetOf(VerbOther), Command: func(t *Turn) {
		t.Answer(Reply{421, []string{"4.7.0 enough"}})
	}}))
	d.Command([]byte("GET / HTTP/1.0\r\n"), false)
	if string(d.ToClient) != "421 4.7.0 enough\r\n" || d.Next(false) != End || d.Failure() != vocabulary.OutcomeClientProtocol {
		t.Errorf("the client gets %q, and the session ends %q", d.ToClient, d.Failure())
	}
}

// A filter that keeps every last piece until it knows whether more comes.
func TestWhatAFilterHoldsBackComesAtTheEnd(t *testing.T) {
	holding := func() Actions {
		return Actions{Message: func(*Text) Filter {
			var held []byte
			return Filter{
				Text: func(_ *Text, dst, src []byte) []byte {
					dst = append(dst, held...)
					held = append(held[:0], src...)
					return dst
				},
				End: func(*Text) []byte { return held },
			}
		}}
	}
	upper := Actions{Message: func(*Text) Filter {
		return Filter{Text: func(_ *Text, dst, src []byte) []byte { return append(dst, strings.ToUpper(string(src))...) }}
	}}
	const message = "Subject: a\r\n\r\nfirst\r\nlast\r\n"
	for size := 1; size <= len(message)+3; size++ {
		d, k := begin(t, inForce(active{"one", scope{}, holding()}, active{"two", scope{}, holding()}, active{"upper", scope{}, upper}))
		m := d.Text()
		var out, in []byte
		for rest := message + ".\r\n"; ; {
			n := min(size, len(rest))
			in, rest = append(in, rest[:n]...), rest[n:]
			made, used, end := m.Next(nil, in)
			out, in = append(out, made...), in[used:]
			if end {
				break
			}
			if n == 0 && used == 0 {
				t.Fatalf("pieces of %d: the message does not end", size)
			}
		}
		if want := strings.ToUpper(message) + ".\r\n"; string(out) != want || len(k.broke) > 0 {
			t.Errorf("pieces of %d: %q goes out, want %q; broke %q", size, out, want, k.broke)
		}
	}
}

func TestARestingSessionKnowsWhatTheServerOffers(t *testing.T) {
	var offers []string
	d, _ := begin(t, oneRule(Actions{Commands: SetOf(VerbMAIL), Command: func(t *Turn) { offers = append(offers, t.Server().Lines()...) }}))
	d.Command([]byte("EHLO client.example.net\r\n"), false)
	d.Reply([]byte("250-mail.example.com\r\n250-SIZE\r\n250 DSN\r\n"), false, false)
	for range 2 {
		d.Rest()
		d.Command([]byte("MAIL FROM:<a@example.com>\r\n"), false)
		d.Reply([]byte("250 ok\r\n"), false, false)
	}
	if want := []string{"SIZE", "DSN", "SIZE", "DSN"}; !slices.Equal(offers, want) {
		t.Errorf("the rule sees %q, want %q", offers, want)
	}
}
