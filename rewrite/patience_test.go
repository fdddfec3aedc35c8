package rewrite_test

import (
	"net/netip"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

const exchange50 = "220 mail.example.com Microsoft Exchange Internet Mail Service 5.0.1460.8 ready\r\n"

// promising begins a dialogue with a server whose greeting gets the word ESMTP.
func promising(t *testing.T, m rewrite.Memory) *rewrite.Dialogue {
	t.Helper()
	rules, errs := heal.Compile([]string{"standard"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	d := rewrite.New(&rewrite.Policy{Rules: rules, Hostname: "relay.example.com"}, netip.MustParseAddr("192.0.2.7"), silent{})
	t.Cleanup(d.Close)
	d.Serves(m)
	d.Greeting([]byte(exchange50))
	return d
}

// said returns what the dialogue has for the server, and empties it.
func said(d *rewrite.Dialogue) string {
	text := string(d.ToServer)
	d.ToServer, d.ToClient = nil, nil
	return text
}

// Whoever reads ESMTP that we have added says EHLO, and a server may leave that
// without an answer.
func TestHELOIsSaidWhereEHLOHasNoAnswerAndThePromiseWasOurs(t *testing.T) {
	d := promising(t, nil)
	d.Command([]byte("EHLO client.example.net\r\n"), false)
	if got := said(d); got != "EHLO client.example.net\r\n" || d.Patience() != 15_000 {
		t.Fatalf("the server got %q and has %d ms for its answer", got, d.Patience())
	}
	d.Silent()
	if d.Next(false) != rewrite.AwaitServer {
		t.Fatalf("after the silence the dialogue waits for %d, %s", d.Next(false), d.ToClient)
	}
	d.Greeting([]byte(exchange50))
	if got := said(d); got != "HELO client.example.net\r\n" || d.Patience() != 0 {
		t.Fatalf("the server got %q and has %d ms for its answer", got, d.Patience())
	}
	d.Reply([]byte("250 mail.example.com\r\n"), false, false)
	if got := string(d.ToClient); got != "250 mail.example.com\r\n" {
		t.Errorf("the client got %q", got)
	}
}

// Otherwise the route's time holds, and silence ends the session.
func TestSilenceEndsASessionWhereNoRuleAsksForLess(t *testing.T) {
	d, _ := begin(t, standard(t))
	d.Command([]byte("EHLO client.example.net\r\n"), false)
	if p := d.Patience(); p != 0 {
		t.Errorf("the server has %d ms", p)
	}
	d.Silent()
	if d.Next(false) != rewrite.End {
		t.Error("the session goes on")
	}
}

// learned is a Memory without an end.
type learned map[string]bool

func (l learned) Remember(key string, _ int) { l[key] = true }
func (l learned) Remembers(key string) bool  { return l[key] }

// What a server does with EHLO decides what is promised in its name next time.
func TestESMTPIsAdvertisedByWhatTheServerDidBefore(t *testing.T) {
	m := learned{}
	d := promising(t, m)
	if got := string(d.ToClient); got == exchange50 {
		t.Fatal("the word is missing at first")
	}
	d.Command([]byte("EHLO client.example.net\r\n"), false)
	d.Reply([]byte("503 Bad sequence of commands\r\n"), false, false)
	d.Reply([]byte("250 mail.example.com\r\n"), false, false)
	if got := string(promising(t, m).ToClient); got != exchange50 {
		t.Errorf("after EHLO was refused the greeting is %q", got)
	}

	m = learned{}
	greet := func() (*rewrite.Dialogue, string) {
		d := promising(t, m)
		d.ToClient = nil
		d.Greeting([]byte("220 mail.example.com ready\r\n"))
		return d, string(d.ToClient)
	}
	d, got := greet()
	if got != "220 mail.example.com ready\r\n" {
		t.Fatalf("the greeting of an unknown server became %q", got)
	}
	d.Command([]byte("EHLO client.example.net\r\n"), false)
	d.Reply([]byte("250 mail.example.com\r\n"), false, false)
	if _, got := greet(); got != "220 mail.example.com ESMTP ready\r\n" {
		t.Errorf("after EHLO was accepted the greeting is %q", got)
	}

	m = learned{} // a server of LMTP need not know EHLO, as Dovecot's does not
	d, _ = greet()
	d.Command([]byte("LHLO client.example.net\r\n"), false)
	d.Reply([]byte("250 mail.example.com\r\n"), false, false)
	if _, got := greet(); got != "220 mail.example.com ready\r\n" {
		t.Errorf("after LHLO was accepted the greeting is %q", got)
	}
}

// What was refused once is mended at once in later sessions.
func TestARefusedNameIsRememberedOfTheServer(t *testing.T) {
	m := learned{}
	d := promising(t, m)
	d.Command([]byte("EHLO sub2.\r\n"), false)
	said(d)
	d.Reply([]byte("501 Invalid Address\r\n"), false, false)
	if got := said(d); got != "EHLO sub2\r\n" {
		t.Fatalf("the server got %q", got)
	}
	d.Reply([]byte("250 mail.example.com\r\n"), false, false)
	for name, want := range map[string]string{"sub3.": "sub3", "my_host": "my_host", "a b.": "a b.", "localhost": "localhost"} {
		d := promising(t, m)
		d.Command([]byte("EHLO "+name+"\r\n"), false)
		if got := said(d); got != "EHLO "+want+"\r\n" {
			t.Errorf("of %q the server got %q", name, got)
		}
	}
}

// What a rule that is undone has asked of the server's time does not hold, nor what one
// asks for once the reply is there.
func TestATimeForTheServerIsUndoneWithTheRuleThatAskedForIt(t *testing.T) {
	hello := rewrite.SetOf(rewrite.VerbEHLO)
	k := newTalk(t,
		named("holds", rewrite.Actions{Commands: hello, Command: (*rewrite.Turn).Hold}),
		named("undone", rewrite.Actions{Commands: hello, Command: func(t *rewrite.Turn) {
			t.Within(5)
			t.SetLine("EHLO a\nb")
		}}),
		named("late", rewrite.Actions{Replies: hello, Reply: func(t *rewrite.Turn) { t.Within(5) }}))
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	if p := k.d.Patience(); p != 0 {
		t.Errorf("the server has %d ms", p)
	}
	k.server("250 mail.example.com", "", "250 mail.example.com")
	k.acted("", "late undone")
}
