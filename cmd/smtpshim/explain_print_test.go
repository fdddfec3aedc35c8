package main

import (
	"bytes"
	"strings"
	"testing"
)

// saidOf returns what explain prints about standard input, with single blanks.
func saidOf(input string) (stdout, stderr string) {
	var out, errs bytes.Buffer
	explainFrom([]string{"-"}, strings.NewReader(input), &out, &errs)
	return strings.Join(strings.Fields(out.String()), " "), strings.Join(strings.Fields(errs.String()), " ")
}

const nothingKnown = "Nothing is known of"

// A line about which something is said is not one of which nothing is known.
func TestALineIsNotBothExplainedAndUnknown(t *testing.T) {
	for text, want := range map[string]string{
		"521 5.5.2 bare <LF> received after DATA":              "stray-bytes", // a guess
		"505 You must please issue the STARTTLS command first": "mend-505",
		"502 Command not implemented":                          "upper-case-verbs",
		"501 5.1.7 Bad sender address syntax":                  "strip-parameters",
		"559 5.5.4 Unexpected whitespace before":               "tidy-commands",           // by its words
		"554 5.7.1 Relay access\ndenied\n":                     "relays only for clients", // of two lines
		"said: 554 5.7.1 Relay\naccess\ndenied\n":              "relays only for clients",
		"502 Command not\nimplemented so far\n":                "",
	} {
		if stdout, _ := saidOf(text); want != "" && !strings.Contains(stdout, want) || strings.Contains(stdout, nothingKnown) {
			t.Errorf("%q: %s", text, stdout)
		}
	}
}

func TestOfGuessesAndUnknownRefusalsBothAreShown(t *testing.T) {
	const guess, zork = "502 Command not implemented", "571 zork"
	stdout, _ := saidOf(guess + "\n" + zork + "\n")
	if !strings.HasSuffix(stdout, "Nothing is known of this line with a refusal: "+zork) || !strings.Contains(stdout, "Perhaps:") {
		t.Errorf("it is told as %s", stdout)
	}
	// Besides what is known, a guess is not shown, and its line is unknown.
	stdout, _ = saidOf("505 You must please issue the STARTTLS command first\n554 5.7.1 Relay access denied\n")
	if !strings.HasSuffix(stdout, "with a refusal: 505 You must please issue the STARTTLS command first") || strings.Contains(stdout, "Perhaps") {
		t.Errorf("it is told as %s", stdout)
	}
	// A guess that is one too many is not shown, and its line is.
	stdout, _ = saidOf("505 You must please issue the STARTTLS command first\n521 5.5.2 bare <LF> received after DATA\n502 Command not implemented\n503 Bad sequence of commands\n")
	if n := strings.Count(stdout, "Perhaps:"); n != maxGuesses || !strings.Contains(stdout, nothingKnown) {
		t.Errorf("%d guesses: %s", n, stdout)
	}
}

func TestWhereNothingIsKnownTheRefusalsAreShown(t *testing.T) {
	const zork = "status=bounced (host mx.example.com[192.0.2.1] said: 571 zork (in reply to RCPT TO command))"
	stdout, stderr := saidOf("one\n\n" + zork + "\n\nthree\n")
	if want := "nothing is known about these 3 lines. Nothing is known of this line with a refusal: " + zork + " Examine the two"; stdout != "" || !strings.Contains(stderr, want) {
		t.Errorf("it is told as %s, want %s", stderr, want)
	}
	if _, stderr = saidOf("571 zork\n571 bork\n"); !strings.Contains(stderr, "Nothing is known of 2 lines with a refusal: 571 zork 571 bork Examine") {
		t.Errorf("two are told as %s", stderr)
	}
	if _, stderr = saidOf("571 zork\n"); strings.Contains(stderr, nothingKnown+" this") {
		t.Errorf("the only line is repeated: %s", stderr)
	}
}

func TestOfSeveralRulesItIsSaidWhichToTryFirst(t *testing.T) {
	const order = "2 rules may heal this; try them in this order."
	stdout, _ := saidOf("554 5.6.1 Body type not supported by Remote Host\n")
	at, first, second := strings.Index(stdout, order), strings.Index(stdout, "offer-8bitmime"), strings.Index(stdout, "hide-keywords")
	if at < 0 || at > first || first > second {
		t.Errorf("it is told as %s", stdout)
	}
	stdout, _ = saidOf("535 5.7.3 Authentication unsuccessful\n")
	if at, means, rule := strings.Index(stdout, order), strings.Index(stdout, "Means: the password"), strings.Index(stdout, "Perhaps:"); means < 0 || at < means || rule < at {
		t.Errorf("what is no rule is told as %s", stdout)
	}
	for text, why := range map[string]string{
		"505 Must issue a STARTTLS command first": "both rules are in force by themselves",
		"502 Server does not support AUTH.":       "there is one rule",
		"554 5.7.1 Relay access denied":           "there is none",
		"502 Server does not support AUTH.\n500 Host does not have it\n501 Parameter RET is not recognised\n": "each line has one rule",
	} {
		if stdout, _ := saidOf(text); strings.Contains(stdout, "in this order") || stdout == "" {
			t.Errorf("%q, where %s: %s", text, why, stdout)
		}
	}
}
