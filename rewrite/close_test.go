package rewrite_test

import (
	"bytes"
	"net/netip"
	"runtime"
	"testing"

	"smtpshim/rewrite"
)

// holding begins a session whose turn is held in one of several waits.
var holding = map[string]func(k *talk){
	"a reply": func(k *talk) {
		k.client("EHLO client.example.net", "EHLO client.example.net", "")
	},
	"a handshake": func(k *talk) {
		k.client("EHLO client.example.net", "EHLO client.example.net", "")
		k.server("250-mail.example.com|250 STARTTLS", "STARTTLS", "")
		k.server("220 go on", "", "")
	},
	"a greeting": func(k *talk) {
		k.client("EHLO client.example.net", "EHLO client.example.net", "")
		k.server("250-mail.example.com|250 STARTTLS", "STARTTLS", "")
		k.server("220 go on", "", "")
		k.d.ServerTLSFailed()
	},
	"a SASL line": func(k *talk) {
		k.hello("AUTH LOGIN")
		k.client("AUTH LOGIN", "AUTH LOGIN", "")
		k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
	},
}

func holdingPolicy(turns *rewrite.Turns) *rewrite.Policy {
	return &rewrite.Policy{ServerTLS: rewrite.ServerTLSOpportunistic, Turns: turns}
}

// conversations counts the coroutines that held turns run on.
func conversations() int {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Count(stacks, []byte("rewrite.newConversation.func1("))
}

func TestCloseEndsAHeldTurn(t *testing.T) {
	for name, hold := range holding {
		t.Run(name, func(t *testing.T) {
			before := conversations()
			k := talkUnder(t, holdingPolicy(nil))
			hold(k)
			if n := conversations(); n != before+1 {
				t.Fatalf("%d conversations while a turn is held, and %d before", n, before)
			}
			k.d.Close()
			if n := conversations(); n != before {
				t.Errorf("%d conversations at the end, and %d before", n, before)
			}
			k.d.Close() // once more does no harm
		})
	}
}

func TestALostServerEndsAHeldTurn(t *testing.T) {
	for name, hold := range holding {
		t.Run(name, func(t *testing.T) {
			before := conversations()
			k := talkUnder(t, holdingPolicy(nil))
			hold(k)
			if name == "a handshake" {
				k.d.ServerTLSFailed()
			}
			k.d.Lost()
			if k.d.Next(false) != rewrite.End {
				t.Fatalf("the dialogue waits for %d", k.d.Next(false))
			}
			if n := conversations(); n != before {
				t.Errorf("%d conversations at the end, and %d before", n, before)
			}
		})
	}
}

func TestTurnsAreUsedAgain(t *testing.T) {
	turns := rewrite.NewTurns(1)
	before := conversations()
	for range 3 {
		k := talkUnder(t, holdingPolicy(turns))
		k.hello("DSN")
		k.client("AUTH PLAIN AA==", "AUTH PLAIN AA==", "")
		k.server("235 ok", "", "235 ok")
		k.d.Close()
		if n := conversations(); n != before+1 || turns.Kept() != 1 {
			t.Fatalf("%d conversations, and %d before; %d are kept", n, before, turns.Kept())
		}
	}
	first, second := talkUnder(t, holdingPolicy(turns)), talkUnder(t, holdingPolicy(turns))
	for _, k := range []*talk{first, second} { // one more than there is room for
		k.client("EHLO client.example.net", "EHLO client.example.net", "")
	}
	for _, k := range []*talk{first, second} {
		k.server("250 mail.example.com", "", "250 mail.example.com")
	}
	if n := conversations(); n != before+1 || turns.Kept() != 1 {
		t.Errorf("%d conversations, and %d before; %d are kept", n, before, turns.Kept())
	}
	turns.Close()
	if n := conversations(); n != before || turns.Kept() != 0 {
		t.Errorf("%d conversations at the end, and %d before; %d are kept", n, before, turns.Kept())
	}
}

// A turn whose session was closed is not used again: it is somewhere in the middle.
func TestATurnThatWasGivenUpIsNotKept(t *testing.T) {
	turns := rewrite.NewTurns(4)
	k := talkUnder(t, holdingPolicy(turns))
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.d.Close()
	if turns.Kept() != 0 {
		t.Errorf("%d are kept", turns.Kept())
	}
}

// A faulty is a listener that panics when it hears of a reply with this code.
type faulty struct {
	silent
	code int
}

func (f faulty) Replied(_ rewrite.Verb, code int, _ []byte) {
	if code == f.code {
		panic(reason)
	}
}

func TestADialogueThatPanickedCanBeClosed(t *testing.T) {
	turns := rewrite.NewTurns(4)
	before := conversations()
	d := rewrite.New(holdingPolicy(turns), netip.Addr{}, faulty{code: 250})
	d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
	d.Command([]byte("EHLO client.example.net\r\n"), false)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic of a listener is not passed on")
			}
		}()
		d.Reply([]byte("250 mail.example.com\r\n"), false, false)
	}()
	d.Close()
	if n := conversations(); n != before || turns.Kept() != 0 {
		t.Errorf("%d conversations at the end, and %d before; %d are kept", n, before, turns.Kept())
	}
}
