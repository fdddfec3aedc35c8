package rewrite_test

import (
	"strings"
	"testing"

	"smtpshim/rewrite"
)

// marks is a rule that adds a word to each reply that it gets.
func marks(a rewrite.Actions) rewrite.Rule {
	a.Reply = func(t *rewrite.Turn) {
		if lines := t.Reply().Lines; !t.Lost() {
			lines[len(lines)-1] += " seen"
		}
	}
	return named("marks", a)
}

func TestARuleForMultilineRepliesSeesNoOthers(t *testing.T) {
	for _, line := range []string{"NOOP", "EHLO client.example.net", "AUTH PLAIN AA==", "MAIL FROM:<a@example.com>"} {
		verb := rewrite.ParseVerb([]byte(line))
		for said, heard := range map[string]string{"250 a": "250 a", "250-a|250 b": "250-a|250 b seen", "550 a": "550 a", "550-a|550 b": "550-a|550 b seen"} {
			k := newTalk(t, marks(rewrite.Actions{Multiline: rewrite.SetOf(verb)}))
			k.client(line, line, "")
			k.server(said, "", heard)
			k = newTalk(t, marks(rewrite.Actions{Multiline: rewrite.EveryVerb &^ rewrite.SetOf(verb)}))
			k.client(line, line, "")
			k.server(said, "", said)
		}
	}
}

func TestARuleForOddRepliesSeesNoOthers(t *testing.T) {
	long := strings.Repeat("x", 506)
	for said, odd := range map[string]bool{"250 a": false, "250": true, "250 ": true, "250-a|250 ": true, "250 \t": true, "250 caf\xe9": true, "250 " + long: false, "250 " + long + "x": true} {
		heard := said
		if odd {
			heard = said + " seen"
			if len(said) == 3 {
				heard = "250  seen"
			}
		}
		k := newTalk(t, marks(rewrite.Actions{Odd: onNOOP}))
		k.client("NOOP", "NOOP", "")
		k.server(said, "", heard)
	}
}

// A rule before it may have made several lines of one.
func TestARuleForMultilineRepliesSeesWhatOthersHaveMade(t *testing.T) {
	lengthens := named("lengthens", rewrite.Actions{Replies: onNOOP, Reply: func(t *rewrite.Turn) {
		t.Reply().Lines = append(t.Reply().Lines, "more")
	}})
	k := newTalk(t, marks(rewrite.Actions{Multiline: onNOOP}), lengthens)
	k.client("NOOP", "NOOP", "")
	k.server("250 a", "", "250-a|250 more seen")
}

func TestARuleForMultilineRepliesHearsOfNoLoss(t *testing.T) {
	k := newTalk(t, named("lost", rewrite.Actions{Multiline: rewrite.EveryVerb, Reply: func(t *rewrite.Turn) {
		t.AgainAfresh("HELO client.example.net")
	}}))
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	k.lost("", "421 4.4.2 connection to server lost")
	k.acted("", "")
}
