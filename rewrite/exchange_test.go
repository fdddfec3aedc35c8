package rewrite_test

import (
	"fmt"
	"strings"
	"testing"

	"smtpshim/rewrite"
)

// asks is a rule that answers AUTH LOGIN with a challenge, and does this to the
// client's SASL lines.
func asks(sasl func(*rewrite.Turn)) rewrite.Rule {
	return named("login", rewrite.Actions{SASL: sasl, Commands: onAUTH, Command: func(t *rewrite.Turn) {
		t.Answer(rewrite.Reply{Code: 334, Lines: []string{"VXNlcm5hbWU6"}})
	}})
}

// secretWord is what clients say of themselves here.
const secretWord = "c2VjcmV0"

// exchange begins AUTH LOGIN, which the rule answers.
func exchange(t *testing.T, sasl func(*rewrite.Turn)) *talk {
	t.Helper()
	k := newTalk(t, asks(sasl))
	k.client("AUTH LOGIN", "", "334 VXNlcm5hbWU6")
	t.Cleanup(func() {
		if heard := strings.Join(k.traced, "\n"); strings.Contains(heard, secretWord) {
			t.Errorf("the trace has a secret in it:\n%s", heard)
		}
	})
	return k
}

// over checks that the client is back at commands, and the server too.
func (k *talk) over() {
	k.Helper()
	k.client("NOOP", "NOOP", "")
	k.server("250 ok", "", "250 ok")
}

func nothing(*rewrite.Turn) {}

// The server waits for a command, and would take the line for one.
func TestASASLLineGetsToNoServerThatHasNotAskedForOne(t *testing.T) {
	for _, line := range []string{secretWord, "QUIT", "DATA", "MAIL FROM:<a@example.com>", "", "* ", "STARTTLS", "AUTHENTICATE"} {
		k := exchange(t, nothing)
		k.client(line, "", "454 4.7.0 the exchange cannot go on")
		k.over()
	}
	for _, line := range []string{secretWord, "DATA", "NOOP", "EHLO x", "AUTHX", "*"} {
		k := exchange(t, func(t *rewrite.Turn) { t.SetLine(line) })
		k.client(secretWord, "", "454 4.7.0 the exchange cannot go on")
		k.over()
	}
}

func TestAClientMayCancelAnExchangeThatARuleHasBegun(t *testing.T) {
	k := exchange(t, nothing)
	k.client("*", "", "501 5.7.0 the exchange is cancelled")
	k.over()
}

func TestAClientMayCancelAnExchangeWithTheServer(t *testing.T) {
	k := newTalk(t)
	k.client("AUTH LOGIN", "AUTH LOGIN", "")
	k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
	k.client("*", "*", "")
	k.server("501 cancelled", "", "501 cancelled")
	k.over()
}

func TestASASLLineThatIsSwallowedIsFollowedByTheNext(t *testing.T) {
	k := exchange(t, func(t *rewrite.Turn) {
		if t.Step() == 1 {
			t.Swallow()
			return
		}
		t.SetLine("AUTH PLAIN " + secretWord)
	})
	k.client(secretWord, "", "")
	if k.d.Next(false) != rewrite.AwaitSASL {
		t.Fatalf("the dialogue waits for %d", k.d.Next(false))
	}
	k.client(secretWord, "AUTH PLAIN "+secretWord, "")
	k.server("235 ok", "", "235 ok")
	k.over()
}

func TestAServerMayChallengeAnAUTHThatARuleHasMade(t *testing.T) {
	k := exchange(t, func(t *rewrite.Turn) {
		if t.Step() == 1 {
			t.SetLine("AUTH PLAIN")
		}
	})
	k.client(secretWord, "AUTH PLAIN", "")
	k.server("334 ", "", "334 ")
	k.client(secretWord, secretWord, "")
	k.server("235 ok", "", "235 ok")
	k.over()
}

// A rule answers the challenge with what it has kept; so a client needs no prompt.
func TestARuleMayAnswerAChallengeToAnAUTHThatItHasMade(t *testing.T) {
	k := newTalk(t, named("login", rewrite.Actions{
		Commands: onAUTH, Command: func(t *rewrite.Turn) {
			t.Answer(rewrite.Reply{Code: 334, Lines: []string{"VXNlcm5hbWU6"}})
		},
		SASL:    func(t *rewrite.Turn) { t.SetLine("AUTH PLAIN") },
		Replies: onAUTH, Reply: func(t *rewrite.Turn) {
			if t.Reply().Code == 334 {
				t.Again(secretWord)
			}
		},
	}))
	k.client("AUTH LOGIN", "", "334 VXNlcm5hbWU6")
	k.client(secretWord, "AUTH PLAIN", "")
	k.server("334 ", secretWord, "")
	k.server("235 ok", "", "235 ok")
	k.over()
	if heard := strings.Join(k.traced, "\n"); strings.Contains(heard, secretWord) {
		t.Errorf("the trace has a secret in it:\n%s", heard)
	}
}

// The server would take the client's next command for a SASL line.
func TestAnExchangeThatARuleEndsIsCancelledAtTheServer(t *testing.T) {
	for _, code := range []int{235, 501, 535} {
		k := newTalk(t, named("ends", rewrite.Actions{SASL: func(t *rewrite.Turn) {
			t.Answer(rewrite.Reply{Code: code, Lines: []string{"so be it"}})
		}}))
		k.client("AUTH LOGIN", "AUTH LOGIN", "")
		k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
		k.client(secretWord, "*", "")
		k.server("501 cancelled", "", fmt.Sprintf("%d so be it", code))
		k.over()
		k.acted("ends", "")
		k.traces("C ...(8 octets) ->  (ends)", "C  -> ...(1 octets) (ends)", "S 501 cancelled ->  (ends)")
	}
}

func TestAServerThatCannotBeCancelledEndsTheSession(t *testing.T) {
	for _, reply := range []string{"334 more", "235 ok", ""} {
		k := newTalk(t, named("ends", rewrite.Actions{SASL: func(t *rewrite.Turn) {
			t.Answer(rewrite.Reply{Code: 535, Lines: []string{"no"}})
		}}))
		k.client("AUTH LOGIN", "AUTH LOGIN", "")
		k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
		k.client(secretWord, "*", "")
		if reply == "" {
			k.lost("", "421 4.4.2 connection to server lost")
		} else {
			k.server(reply, "", "421 4.3.0 server broke the protocol")
		}
		if k.d.Next(false) != rewrite.End {
			t.Errorf("the dialogue waits for %d", k.d.Next(false))
		}
	}
}

// A challenge of the rule's own while the server waits leaves the server waiting.
func TestARuleMayAskTheClientWhileTheServerWaits(t *testing.T) {
	k := newTalk(t, named("asks", rewrite.Actions{SASL: func(t *rewrite.Turn) {
		if t.Step() == 1 {
			t.Answer(rewrite.Reply{Code: 334, Lines: []string{"UGFzc3dvcmQ6"}})
		}
	}}))
	k.client("AUTH LOGIN", "AUTH LOGIN", "")
	k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
	k.client(secretWord, "", "334 UGFzc3dvcmQ6")
	k.client(secretWord, secretWord, "")
	k.server("235 ok", "", "235 ok")
	k.over()
}

func TestA421WithinAnExchangeEndsIt(t *testing.T) {
	k := newTalk(t)
	k.client("AUTH LOGIN", "AUTH LOGIN", "")
	k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
	k.server("421 going", "", "421 going") // nobody has asked
	if k.d.Next(false) != rewrite.End || !k.d.ServerGone() {
		t.Errorf("the dialogue waits for %d; the server has gone: %v", k.d.Next(false), k.d.ServerGone())
	}
	k = newTalk(t)
	k.client("AUTH LOGIN", "AUTH LOGIN", "")
	k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
	k.client(secretWord, secretWord, "")
	k.server("421 going", "", "421 going")
	k.client("QUIT", "QUIT", "")
	k.server("221 bye", "", "221 bye")
	k = exchange(t, nothing)
	k.server("421 going", "", "421 going")
	if k.d.Next(false) != rewrite.End {
		t.Errorf("the dialogue waits for %d", k.d.Next(false))
	}
}

func TestALostServerWithinAnExchangeEndsTheSession(t *testing.T) {
	k := exchange(t, func(t *rewrite.Turn) { t.SetLine("AUTH PLAIN " + secretWord) })
	k.client(secretWord, "AUTH PLAIN "+secretWord, "")
	k.lost("", "421 4.4.2 connection to server lost")
	k = exchange(t, nothing)
	k.lost("", "421 4.4.2 connection to server lost")
}

func TestASASLLineThatIsTooLongIsNamedSo(t *testing.T) {
	k := exchange(t, nothing)
	k.d.SASL(nil)
	k.expect("a line that is too long", "", "500 5.5.6 SASL line too long")
	if k.d.Next(false) != rewrite.End {
		t.Errorf("the dialogue waits for %d", k.d.Next(false))
	}
}

func TestASASLLineThatIsNoneEndsTheSession(t *testing.T) {
	for _, raw := range []string{secretWord + "\n", secretWord + "\x00\r\n", secretWord + "\r\r\n"} {
		k := exchange(t, nothing)
		k.d.SASL([]byte(raw))
		k.expect(raw, "", "500 5.5.2 a SASL line ends with CRLF and has no bare CR, bare LF or NUL in it")
		if k.d.Next(false) != rewrite.End || !k.d.ServerGone() {
			t.Errorf("the dialogue waits for %d; the server has gone: %v", k.d.Next(false), k.d.ServerGone())
		}
	}
}

// What is AUTH's own, such as the mechanism, stays the client's throughout.
func TestAnExchangeHasTheMechanismThatTheClientNamed(t *testing.T) {
	var seen []string
	k := exchange(t, func(t *rewrite.Turn) {
		seen = append(seen, t.Mechanism())
		t.SetLine("AUTH PLAIN " + secretWord)
	})
	k.client(secretWord, "AUTH PLAIN "+secretWord, "")
	k.server("334 ", "", "334 ")
	k.client(secretWord, "AUTH PLAIN "+secretWord, "")
	k.server("535 no", "", "535 no")
	if strings.Join(seen, " ") != "LOGIN LOGIN" {
		t.Errorf("the mechanisms are %q", seen)
	}
}

// A client that has cancelled must not be logged in.
func TestARuleDoesNotUndoACancellation(t *testing.T) {
	for name, f := range map[string]func(*rewrite.Turn){
		"another line": func(t *rewrite.Turn) { t.SetLine("dXNlcg==") },
		"swallowed":    func(t *rewrite.Turn) { t.Swallow() },
		"a challenge":  func(t *rewrite.Turn) { t.Answer(rewrite.Reply{Code: 334, Lines: []string{"UGFzc3dvcmQ6"}}) },
		"a yes":        func(t *rewrite.Turn) { t.Answer(rewrite.Reply{Code: 235, Lines: []string{"ok"}}) },
	} {
		t.Run(name, func(t *testing.T) {
			k := newTalk(t, named("bad", rewrite.Actions{SASL: f}))
			k.client("AUTH LOGIN", "AUTH LOGIN", "")
			k.server("334 VXNlcm5hbWU6", "", "334 VXNlcm5hbWU6")
			k.client("*", "*", "")
			k.server("501 cancelled", "", "501 cancelled")
		})
	}
}

// Nobody has asked for it yet.
func TestAChallengeToWhatIsSaidBeforeAUTHEndsTheSession(t *testing.T) {
	k := newTalk(t, onCommands(func(t *rewrite.Turn) { t.First("NOOP") }))
	k.client("AUTH LOGIN", "NOOP", "")
	k.server("334 VXNlcm5hbWU6", "", "421 4.3.0 server broke the protocol")
}
