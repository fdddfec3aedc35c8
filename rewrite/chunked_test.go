package rewrite_test

import (
	"testing"

	"smtpshim/rewrite"
)

// A server with CHUNKING would take the octets of the second chunk for text of
// the message by DATA, dots and all, and the BDAT too.
func TestAMessageThatGoesOnAsDATADoesSoToItsEnd(t *testing.T) {
	for name, second := range map[string]func(*rewrite.Turn){
		"a panic":                    func(*rewrite.Turn) { panic(reason) },
		"a rule that has had enough": func(*rewrite.Turn) {},
		"a yes":                      func(t *rewrite.Turn) { t.Answer(rewrite.Reply{Code: 250, Lines: []string{"ok"}}) },
	} {
		for _, keyword := range []string{"CHUNKING", "DSN"} {
			t.Run(name+", "+keyword, func(t *testing.T) {
				chunks := 0
				k := newTalk(t, named("rule", rewrite.Actions{Commands: rewrite.SetOf(rewrite.VerbBDAT), Command: func(t *rewrite.Turn) {
					if chunks++; chunks > 1 {
						second(t)
						return
					}
					t.AsData()
				}}))
				k.hello(keyword)
				k.client("BDAT 5", "DATA", "")
				k.server("354 go on", "", "")
				k.d.ChunkEnd()
				k.expect("a chunk", "", "250 2.0.0 5 octets received")
				k.client("BDAT 3 LAST", "", "")
				if k.d.Next(false) != rewrite.AwaitChunkText || !k.d.ChunkIsLast() || k.d.ChunkSize() != 3 {
					t.Fatalf("the dialogue waits for %d", k.d.Next(false))
				}
				k.d.ChunkEnd()
				k.server("250 taken", "", "250 taken")
			})
		}
	}
}

func TestAChunkThatARuleRefusesStopsTheMessage(t *testing.T) {
	chunks := 0
	k := newTalk(t, named("rule", rewrite.Actions{Commands: rewrite.SetOf(rewrite.VerbBDAT), Command: func(t *rewrite.Turn) {
		if chunks++; chunks > 1 {
			t.Answer(rewrite.Reply{Code: 451, Lines: []string{"no"}})
			return
		}
		t.AsData()
	}}))
	k.hello("DSN")
	k.client("BDAT 5", "DATA", "")
	k.server("354 go on", "", "")
	k.d.ChunkEnd()
	k.expect("a chunk", "", "250 2.0.0 5 octets received")
	for _, line := range []string{"BDAT 3", "BDAT 3 LAST"} {
		k.client(line, "", map[string]string{"BDAT 3": "451 no", "BDAT 3 LAST": "503 5.5.1 a chunk of this message was refused"}[line])
		if k.d.Next(false) != rewrite.AwaitChunkDiscard {
			t.Fatalf("the dialogue waits for %d", k.d.Next(false))
		}
		k.d.ChunkEnd()
	}
	k.client("MAIL FROM:<a@example.com>", "", "503 5.5.1 a message is being sent by BDAT")
	k.client("RSET", "", "250 2.0.0 ok")
	if !k.d.ServerGone() {
		t.Error("the server is not given up, and waits for more of the message")
	}
}

// A session that rests between two chunks keeps no turn.
func TestChunksMayHaveARestBetweenThem(t *testing.T) {
	k := newTalk(t, named("rule", rewrite.Actions{Commands: rewrite.SetOf(rewrite.VerbBDAT), Command: func(t *rewrite.Turn) { t.AsData() }}))
	k.hello("DSN")
	k.client("BDAT 5", "DATA", "")
	k.server("354 go on", "", "")
	k.d.Rest()
	k.d.ChunkEnd()
	k.expect("a chunk", "", "250 2.0.0 5 octets received")
	k.d.Rest()
	k.client("BDAT 0 LAST", "", "")
	k.d.ChunkEnd()
	k.server("250 taken", "", "250 taken")
}

func TestAChunkIsNotHeld(t *testing.T) {
	k := newTalk(t, named("holds", rewrite.Actions{Commands: rewrite.EveryVerb, Command: func(t *rewrite.Turn) { t.Hold() }}))
	k.hello("CHUNKING")
	k.client("BDAT 5 LAST", "BDAT 5 LAST", "")
	k.d.ChunkEnd()
	k.server("250 ok", "", "250 ok")
}

// As at the end of a message by DATA.
func TestAMessageThatIsRefusedBetweenChunksSaysWhoHasMendedIt(t *testing.T) {
	k := newTalk(t, named("data", rewrite.Actions{Commands: rewrite.SetOf(rewrite.VerbBDAT), Command: func(t *rewrite.Turn) { t.AsData() }}),
		named("look", rewrite.Actions{Message: func(*rewrite.Text) rewrite.Filter {
			return rewrite.Filter{Look: func(m *rewrite.Text) { m.Applied() }}
		}}))
	k.hello("DSN")
	k.client("BDAT 5", "DATA", "")
	k.server("354 go on", "", "")
	k.d.Text().Stuff([]byte("a\nb\r\n"))
	if !k.d.EarlyChunkReply([]byte("552 too much\r\n")) {
		t.Fatal("a refusal is none")
	}
	k.expect("a refusal", "", "552 too much")
	k.acted("look", "")
	k.traces("~ message changed or refused by look")
}
