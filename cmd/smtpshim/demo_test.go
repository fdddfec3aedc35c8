package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite/transcript"
)

func TestDemoHealsEveryFoundingArticle(t *testing.T) {
	var out, errs bytes.Buffer
	if status := run([]string{"demo"}, &out, &errs); status != succeeded {
		t.Fatalf("exit status %d\n%s%s", status, &out, &errs)
	}
	for _, s := range scenes() {
		if !strings.Contains(out.String(), s.article+"  "+s.title) {
			t.Errorf("nothing of %s", s.article)
		}
	}
	words := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"stays with HELO", `"502 Server does not support AUTH."`, `"505 Must issue a STARTTLS command first"`,
		"the recipient has 3 copies", `"501 Invalid Address"`, "S- 505 Must issue a STARTTLS command first retry-starttls", "All 5 were healed.",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("colour where there is no terminal")
	}
	for _, blob := range []string{"TlRMTVNTUA"} {
		if strings.Contains(out.String(), blob) {
			t.Errorf("a SASL line in\n%s", &out)
		}
	}
}

func TestDemoShowsOneSceneByArticleOrName(t *testing.T) {
	for _, name := range []string{"q240832", "Q240832", "notes"} {
		var out, errs bytes.Buffer
		if status := run([]string{"demo", name}, &out, &errs); status != succeeded || !strings.Contains(out.String(), "It was healed.") {
			t.Errorf("%s: exit status %d\n%s%s", name, status, &out, &errs)
		}
	}
}

func TestALineOfTheDialogueFitsTheTerminalWhole(t *testing.T) {
	long := strings.Repeat("word  ", 40) + strings.Repeat("x", 200)
	for _, rule := range []string{"", "fall-back-to-helo", "starttls-keyword,translate-xauth,fall-back-to-helo"} {
		var b strings.Builder
		show := &showLines{out: demoOutput{w: &b}}
		lines := show.dialogue(proxy.Beginning{Session: "1a"})
		lines.Line(transcript.Line{Side: transcript.Server, Mark: transcript.Removed, Text: long, Rule: rule})
		lines.Line(transcript.Line{Text: long})
		for line := range strings.Lines(b.String()) {
			if n := width(line); n >= columns {
				t.Errorf("%d columns: %s", n, line)
			}
		}
		shown := strings.ReplaceAll(b.String(), rule, "")
		if got, want := strings.Count(shown, "word"), 80; got != want {
			t.Errorf("%d of %d words are shown:\n%s", got, want, shown)
		}
		if got, want := strings.Count(shown, "x"), 400; got != want {
			t.Errorf("%d of %d letters are shown:\n%s", got, want, shown)
		}
		if rule != "" && strings.Count(b.String(), "  "+rule+"\n") != 1 {
			t.Errorf("the rule %s is not shown:\n%s", rule, b.String())
		}
	}
}

func TestRulesStandInOneColumn(t *testing.T) {
	var b strings.Builder
	demoOutput{w: &b}.dialogue([]transcript.Line{
		transcript.Line{Side: 'S', Mark: '-', Text: strings.Repeat("word ", 30) + "end", Rule: "advertise-esmtp"},
		transcript.Line{Side: 'S', Mark: ':', Text: strings.Repeat("word ", 30) + "end", Rule: ""},
		transcript.Line{Side: 'C', Mark: '-', Text: "EHLO sub2.", Rule: "fall-back-to-helo"},
	})
	lines := strings.Split(b.String(), "\n")
	at := strings.Index(lines[0], "advertise-esmtp")
	if at < 0 || !slices.ContainsFunc(lines, func(l string) bool { return strings.Index(l, "fall-back-to-helo") == at }) {
		t.Errorf("two columns in\n%s", &b)
	}
}

func TestTheDemoTellsOfAMessageInOneLineOfPrintableASCII(t *testing.T) {
	for want, m := range map[string]smtptest.Message{
		"got a message for ben@example.net from ann@example.com, 232 octets\n": {From: "ann@example.com", To: []string{"ben@example.net"}, Body: make([]byte, 232)},
		"got a message for ben@example.net and 2 others from <>, 1 octet\n":    {To: []string{"ben@example.net", "a@example.net", "b@example.net"}, Body: []byte("x")},
		"got a message for \"\\x1b[2J\\u00e9@example.net\" from " + strings.Repeat("x", 64) + "..., 0 octets\n": {
			From: strings.Repeat("x", 1000), To: []string{"\x1b[2Jé@example.net"}},
	} {
		var out strings.Builder
		(&showLines{out: demoOutput{w: &out}}).message(m)
		if out.String() != want {
			t.Errorf("got %q, want %q", &out, want)
		}
	}
}

func TestDemoSaysWhatThereIs(t *testing.T) {
	for _, args := range [][]string{{"demo", "exchange-6"}, {"demo", "-listen", "127.0.0.1:0", "exchange-6"}, {"demo", "-listen", "127.0.0.1:0", "-bare"}} {
		var out, errs bytes.Buffer
		if status := run(args, &out, &errs); status != misused || !strings.Contains(errs.String(), "iis-4") {
			t.Errorf("%q: exit status %d, %q", args, status, &errs)
		}
	}
}

func TestTheDemosAddressIsReadAsThatOfARoute(t *testing.T) {
	if _, _, err := call("demo", "exchange-6"); !strings.Contains(err, "\"smtpshim demo -listen ADDR\" lists more servers to talk to.") {
		t.Errorf("it does not say where more are listed: %s", err)
	}
	status, out, err := call("demo", "-listen", "2525", "iis-4")
	if status != misused || out != "" || !strings.Contains(err, `"2525" has no host; write ":2525"`) {
		t.Errorf("exit status %d, %q, %q", status, out, err)
	}
}

func TestABareServerNeedsAPlace(t *testing.T) {
	if status, _, err := call("demo", "-bare", "iis-4"); status != misused || !strings.Contains(err, "-bare needs -listen ADDR") {
		t.Errorf("exit status %d, %q", status, err)
	}
}

func TestDemoSaysHowToTalkToAServerWithoutAnArticle(t *testing.T) {
	var out, errs bytes.Buffer
	if status := run([]string{"demo", "microsoft-365"}, &out, &errs); status != misused || !strings.Contains(errs.String(), "smtpshim demo -listen 127.0.0.1:2525 microsoft-365") {
		t.Errorf("exit status %d\n%s%s", status, &out, &errs)
	}
}

func TestAMendedServerHasWhatItGetsWrongMended(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-mended iis-4", "-mended needs -listen ADDR"},
		{"-listen 127.0.0.1:0 -mended modern", "modern has no faults"},
	} {
		if status, _, err := call(append([]string{"demo"}, strings.Fields(c.args)...)...); status != misused || !strings.Contains(err, c.want) {
			t.Errorf("%s: exit status %d, %q", c.args, status, err)
		}
	}
}

// What auto does not look for, the demo has in force all the same, and says why.
func TestTheDemoNamesTheSetThatAutoDoesNotLookFor(t *testing.T) {
	for server, want := range map[string]string{"iis-4": "", "message-guard": `no source has its greeting`, "watchguard": `"220 SMTP service ready"`} {
		var out bytes.Buffer
		sets := demoSets(server, &out)
		said := strings.Join(strings.Fields(out.String()), " ")
		switch {
		case want == "" && (said != "" || !slices.Equal(sets, []string{"auto"})):
			t.Errorf("%s is under %q, and it says %q", server, sets, said)
		case want != "" && (!slices.Equal(sets, []string{"auto", server}) || !strings.Contains(said, want) || !strings.Contains(said, `rules = ["auto", "`+server+`"]`)):
			t.Errorf("%s is under %q, and it says %q", server, sets, said)
		}
	}
}
