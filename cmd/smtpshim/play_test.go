package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smtpshim/cmd/smtpshim/internal/config/configtest"
)

// playing runs play with standard input.
func playing(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = playFrom(args, strings.NewReader(stdin), &out, &err)
	return status, out.String(), err.String()
}

// playedJSON runs play -json with one file.
func playedJSON(t *testing.T, stdin string, args ...string) (int, played) {
	t.Helper()
	status, stdout, stderr := playing(t, stdin, append([]string{"-json"}, args...)...)
	var p played
	if err := json.Unmarshal([]byte(stdout), &p); err != nil {
		t.Fatalf("%v: %q, %q", err, stdout, stderr)
	}
	return status, p
}

// swaksSaid is a dialogue of swaks with an Exchange 5.0 of the founding case.
const swaksSaid = `=== Connected to mail.example.com.
<-  220 mail.example.com Microsoft Exchange Internet Mail Service 5.0.1460.8 ready
 -> EHLO client.example.net
<-  250-mail.example.com Hello [192.0.2.7]
<-  250 SIZE 0
 -> MAIL FROM:<anna@example.com>
<** 505 Must issue a STARTTLS command first
 -> MAIL FROM:<anna@example.com>
<-  250 ok
 -> RCPT TO:<x@example.net>
@REFUSAL@
 -> QUIT
<-  221 bye
`

const (
	refused = "<** 550 5.1.1 User unknown"
	taken   = "<-  250 ok"
)

func swaksOf(reply string) string { return strings.ReplaceAll(swaksSaid, "@REFUSAL@", reply) }

// The name of a file may come from elsewhere, as that of an attachment.
func TestNamesOfFilesDoNotReachTheTerminalRaw(t *testing.T) {
	t.Chdir(t.TempDir())
	const name, shown = "a\x1b[31m\u009b.txt", `a\x1b[31m\u009b.txt`
	write(t, name, "S: 220 mail.example.com ESMTP\nC: EHLO a.example.com\nS: 500 no\n")
	write(t, "\x1b[31m.toml", "x")
	write(t, "\x1b[32m.toml", configtest.Route("in", "127.0.0.1:2525"))
	for args, want := range map[string]string{
		"play " + name:                           shown + `": 1 dialogue`,
		"play -dialogue " + name:                 shown + `", line 1`,
		"play -config \x1b[32m.toml " + name:     `under "\x1b[32m.toml", route in`,
		"play -against \x1b[32m.toml " + name:    `"\x1b[32m.toml", route in`,
		"play none\x1b[31m":                      `open none\x1b[31m: `,
		"play -config \x1b[31m.toml " + name:     `\x1b[31m.toml:1: not TOML`,
		"play -rules \x1b[31m " + name:           `the rules \x1b[31m: `,
		"check -config \x1b[31m.toml":            `\x1b[31m.toml:1: not TOML`,
		"check -config \x1b[32m.toml":            `"\x1b[32m.toml" is right`,
		"check -\x1b[31m":                        `there is no flag -\x1b[31m`,
		"run -config none\x1b[31m.toml":          `reading none\x1b[31m.toml`,
		"ready -config none\x1b[31m.toml":        `reading none\x1b[31m.toml`,
		"explain none\x1b[31m.log":               `no file none\x1b[31m.log`,
		"observe -config none\x1b[31m.toml":      `reading none\x1b[31m.toml`,
		"login -config none\x1b[31m.toml office": `reading none\x1b[31m.toml`,
		"rules none\x1b[31m":                     `"none\x1b[31m"`,
		"demo none\x1b[31m":                      `"none\x1b[31m"`,
	} {
		_, out, errs := call(strings.Split(args, " ")...)
		if all := strings.Join(strings.Fields(out+errs), " "); !strings.Contains(all, want) || strings.ContainsAny(out+errs, "\x1b\u009b") {
			t.Errorf("%q: not %q, or a control character, in\n%q", args, want, all)
		}
	}
}

func TestPlayTellsRulesAndRefusals(t *testing.T) {
	status, p := playedJSON(t, swaksOf(refused), "-")
	if status != failed || p.Under != "rules standard" || p.Dialogues != 1 || p.Played != p.Lines || len(p.Unknown) != 0 {
		t.Errorf("status %d: %+v", status, p)
	}
	var rules []string
	for _, r := range p.Rules {
		rules = append(rules, r.Rule+" "+r.First.String()+" "+r.Said[:6])
	}
	if want := []string{"advertise-esmtp line 2 S- 220", "mend-505 line 7 S- 505"}; !slices.Equal(rules, want) {
		t.Errorf("the rules are %q", rules)
	}
	if len(p.Unhealed) != 1 || p.Unhealed[0].Code != 550 || p.Unhealed[0].First.FileLine != 11 || len(p.Unhealed[0].Causes) != 1 ||
		!strings.Contains(p.Unhealed[0].Causes[0].Means, "does not know the recipient") {
		t.Errorf("these stay: %+v", p.Unhealed)
	}
	if len(p.Healed) != 1 || p.Healed[0].Code != 505 || p.Healed[0].Healed != "mend-505" || p.Healed[0].Verb != "MAIL" {
		t.Errorf("these are healed: %+v", p.Healed)
	}
}

func TestTheExitStatusOfPlayIsForScripts(t *testing.T) {
	for name, c := range map[string]struct {
		stdin string
		args  []string
		want  int
	}{
		"healed":                      {swaksOf(taken), []string{"-"}, succeeded},
		"a refusal stays":             {swaksOf(refused), []string{"-"}, failed},
		"not healed by these":         {swaksOf(taken), []string{"-rules", "standard,-mend-505", "-"}, failed},
		"no difference":               {swaksOf(refused), []string{"-against-rules", "advertise-esmtp,mend-505", "-"}, succeeded},
		"a difference":                {swaksOf(taken), []string{"-against-rules", "standard,-mend-505", "-"}, failed},
		"a set more, nothing changes": {swaksOf(taken), []string{"-against-rules", "auto", "-"}, succeeded},
		"no dialogue":                 {"a letter\n", []string{"-"}, failed},
		"no file":                     {"", []string{"/nonexistent"}, failed},
		"no such rule":                {swaksOf(taken), []string{"-rules", "mend-506", "-"}, failed},
		"nothing to play":             {"", nil, misused},
		"two sets of rules":           {"", []string{"-rules", "standard", "-config", "x", "-"}, misused},
		"two to compare with":         {"", []string{"-against", "x", "-against-rules", "standard", "-"}, misused},
		"a route of nothing":          {"", []string{"-route", "in", "-"}, misused},
		"two forms of output":         {"", []string{"-json", "-dialogue", "-"}, misused},
		"help":                        {"", []string{"-h"}, succeeded},
	} {
		if status, stdout, stderr := playing(t, c.stdin, c.args...); status != c.want || status != succeeded && stdout+stderr == "" {
			t.Errorf("%s: status %d, want %d: %s%s", name, status, c.want, stdout, stderr)
		}
	}
}

func TestPlayShowsWhatDiffers(t *testing.T) {
	status, p := playedJSON(t, swaksOf(taken), "-against-rules", "standard,-mend-505", "-")
	if status != failed || len(p.Differences) != 1 || !slices.Equal(p.Differences[0].Rules, []string{"mend-505"}) ||
		!strings.Contains(p.Differences[0].Lines, "S: 505 Must issue a STARTTLS command first\n") ||
		!strings.Contains(p.Differences[0].Lines, "S+ 530 5.7.0 Must issue a STARTTLS command first\n") {
		t.Errorf("status %d, differences %+v", status, p.Differences)
	}
}

func TestPlayDoesNotMakeUpWhatAServerWouldSay(t *testing.T) {
	status, p := playedJSON(t, "S: 220 mail.example.com ESMTP\nC: EHLO sub2.\nS: 501 Invalid Address\nC: QUIT\nS: 221 bye\n", "-")
	if status != succeeded || len(p.Unhealed) != 0 || len(p.Unknown) != 1 || p.Unknown[0].Why != "the server gets EHLO sub2; in the recording it got QUIT" {
		t.Errorf("status %d: %+v", status, p)
	}
	_, stdout, _ := playing(t, "S: 220 mail.example.com ESMTP\nC: EHLO sub2.\nS: 501 Invalid Address\nC: QUIT\nS: 221 bye\n", "-dialogue", "-")
	for _, want := range []string{"C+ EHLO sub2", "From here on the dialogue is not known: the server gets EHLO sub2", "EHLO: 501 Invalid Address, by fix-hello-name"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
}

// TestARecordingIsPlayedUnderItsOwnRules plays all of rewrite's testdata: nothing is
// unknown, and compared with its own rules nothing differs.
func TestARecordingIsPlayedUnderItsOwnRules(t *testing.T) {
	names, err := filepath.Glob("../../rewrite/testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no dialogues in rewrite/testdata: %v", err)
	}
	var out, errs bytes.Buffer
	playFrom(append([]string{"-json"}, names...), nil, &out, &errs)
	if errs.Len() > 0 {
		t.Error(errs.String())
	}
	files := 0
	for d := json.NewDecoder(&out); d.More(); files++ {
		var p played
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		if len(p.Unknown)+len(p.Assumed)+len(p.Broke) > 0 || p.Under != "its own rules" {
			t.Errorf("%s: %+v", p.File, p)
		}
	}
	if files != len(names) {
		t.Errorf("%d of %d files were played", files, len(names))
	}
}

func TestARouteOfAConfigurationIsPlayed(t *testing.T) {
	config := filepath.Join(t.TempDir(), "smtpshim.toml")
	const text = "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"127.0.0.1:25\"]\nrules = [\"mend-505\"]\n" +
		"[[route]]\nname = \"out\"\nlisten = [\"127.0.0.1:2526\"]\nservers = [\"127.0.0.1:25\"]\nrules = [\"advertise-esmtp\"]\n[route.options.advertise-esmtp]\nstyle = \"word\"\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for route, want := range map[string][]string{"in": {"mend-505"}, "out": {"advertise-esmtp"}} {
		_, p := playedJSON(t, swaksOf(taken), "-config", config, "-route", route, "-")
		var rules []string
		for _, r := range p.Rules {
			rules = append(rules, r.Rule)
		}
		if !slices.Equal(rules, want) {
			t.Errorf("%s: the rules are %q", route, rules)
		}
	}
	if status, _, stderr := playing(t, swaksOf(taken), "-config", config, "-"); status != failed || !strings.Contains(stderr, "has the routes in, out; choose one with -route") {
		t.Errorf("status %d, %q", status, stderr)
	}
	if status, _, stderr := playing(t, swaksOf(taken), "-config", config, "-route", "int", "-"); status != failed || !strings.Contains(stderr, `has no route "int"; there is "in" and "out"; did you mean "in"?`) {
		t.Errorf("status %d, %q", status, stderr)
	}
	status, p := playedJSON(t, swaksOf(taken), "-rules", "mend-505", "-against", config, "-route", "in", "-")
	if status != succeeded || p.differs() {
		t.Errorf("status %d: %+v", status, p)
	}
}

func TestPlayPrintsNoCredentialsAndNoControlCharacters(t *testing.T) {
	const text = "S: 220 mail.example.com ESMTP\nC: EHLO client.example.net\nS: 250-mail.example.com\nS: 250 AUTH LOGIN PLAIN\n" +
		"C: AUTH PLAIN AHVzZXIAc2VjcmV0\nS: 535 5.7.8 \x1b[2Jno AHVzZXIAc2VjcmV0\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dXNlcg==\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\nS: 535 no\n"
	for _, args := range [][]string{{"-dialogue", "-"}, {"-json", "-"}, {"-dialogue", "-rules", "login-to-plain", "-against-rules", "standard", "-"}} {
		_, stdout, stderr := playing(t, text, args...)
		for _, secret := range []string{"AHVzZXIAc2VjcmV0", "dXNlcg==", "c2VjcmV0", "\x1b"} {
			if strings.Contains(stdout+stderr, secret) {
				t.Errorf("%v: %q is in\n%s%s", args, secret, stdout, stderr)
			}
		}
	}
}

func TestManyDialoguesAreToldInFewLines(t *testing.T) {
	var b strings.Builder
	for n := range 500 {
		b.WriteString("S: 220 a\nC: EHLO b\nS: 550 no " + strings.Repeat("x", n) + "\nC: QUIT\nS: 221 bye\n")
	}
	status, p := playedJSON(t, b.String(), "-rules", "mend-505", "-")
	if status != failed || p.Dialogues != 500 || len(p.Unhealed) != maxRefusals || p.MoreRefusals != 400 {
		t.Errorf("status %d: %d dialogues, %d and %d refusals", status, p.Dialogues, len(p.Unhealed), p.MoreRefusals)
	}
}

func TestRefusalsThatAreHealedAreNoneThatStay(t *testing.T) {
	var b strings.Builder
	for n := range maxRefusals + 50 {
		b.WriteString("S: 220 a\nC: HELO b\nS: 250 a\nC: MAIL FROM:<a@example.com>\nS: 505 Must issue a STARTTLS command first " + strings.Repeat("x", n) + "\nC: QUIT\nS: 221 bye\n")
	}
	status, p := playedJSON(t, b.String(), "-rules", "mend-505", "-")
	if status != succeeded || len(p.Healed) != maxRefusals || p.MoreHealed != 50 || p.MoreRefusals != 0 {
		t.Errorf("status %d: %d healed, and %d more; %d more stay", status, len(p.Healed), p.MoreHealed, p.MoreRefusals)
	}
	if _, stdout, _ := playing(t, b.String(), "-rules", "mend-505", "-"); !strings.Contains(stdout, "Refusals that are healed:") || !strings.Contains(stdout, "    and 50 more\n") {
		t.Errorf("it is printed as\n%s", stdout)
	}
}

// swaksSent is a dialogue of swaks with a message that has this line.
func swaksSent(line string) string {
	return strings.ReplaceAll(swaksOf(taken), " -> QUIT\n", " -> DATA\n<-  354 go on\n -> Subject: x\n -> \n -> "+line+"\n -> .\n<-  250 queued\n -> QUIT\n")
}

func TestPlayHasTheTextOfAMessageWhereTheFileHas(t *testing.T) {
	const eight = "caf\xe9"
	_, p := playedJSON(t, swaksSent(eight), "-rules", "label-8bit", "-")
	if len(p.Rules) != 1 || p.Rules[0].Rule != "label-8bit" || p.Rules[0].First.FileLine != 17 || p.Messages != 1 || p.Textless != 0 || p.TextRules != nil || len(p.Unknown) != 0 {
		t.Errorf("%+v", p)
	}
	if _, p = playedJSON(t, swaksSent("short"), "-rules", "long-lines", "-"); len(p.Rules) != 0 || p.TextRules != nil {
		t.Errorf("there is no long line: %+v", p)
	}
	long := strings.Repeat("x", 1200)
	_, p = playedJSON(t, swaksSent(long), "-rules", "long-lines", "-")
	if len(p.Rules) != 1 || p.Rules[0].Rule != "long-lines" {
		t.Errorf("a long line: %+v", p)
	}
}

func TestPlaySaysThatATextIsMissing(t *testing.T) {
	const dialogue = "-- rules --\nlabel-8bit\n-- dialogue --\nS: 220 a\nC: MAIL FROM:<a@example.com>\nS: 250 ok\nC: RCPT TO:<b@example.com>\nS: 250 ok\nC: DATA\nS: 354 go on\n~ message 12 bytes\nS: 250 ok\n"
	_, stdout, _ := playing(t, dialogue, "-")
	if want := "  The text of the messages is not there: it is not known what these rules would\n  do with it: label-8bit.\n"; !strings.Contains(stdout, want) {
		t.Errorf("%q is not in\n%s", want, stdout)
	}
	both := swaksSent("caf\xe9") + strings.ReplaceAll(swaksSaid, "@REFUSAL@", taken+"\n -> DATA\n<-  354 go on\n -> Subject: x\n<-  452 full")
	if _, stdout, _ = playing(t, both, "-rules", "label-8bit", "-"); !strings.Contains(stdout, "The text of 1 of 2 messages is not there") {
		t.Errorf("of one of two:\n%s", stdout)
	}
}

func TestARefusalInPlaceOfAGreetingIsToldInPlainWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "greeting.txt")
	write(t, path, "-- rules --\nstandard\n-- dialogue --\nS+ 421 4.3.2 server not available\n")
	refusing := filepath.Join(t.TempDir(), "refusing.txt")
	write(t, refusing, "-- rules --\nstandard\n-- dialogue --\nS: 554 go away\n")
	_, stdout, stderr := playing(t, "", path, refusing)
	got := strings.Join(strings.Fields(stdout+stderr), " ")
	for _, want := range []string{" 1 of 1 line was played", " greeting: 421 4.3.2 server not available, by smtpshim once"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
}

func TestAdviceOnARecordingTakesSmtpshimForGranted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "refused.txt")
	write(t, path, "-- rules --\n-- dialogue --\nS: 220 mail.example.com ESMTP\nC: EHLO sub2.\nS: 501 5.5.4 Invalid Address\nC: QUIT\nS: 221 bye\n")
	_, stdout, stderr := playing(t, "", path)
	got := strings.Join(strings.Fields(stdout+stderr), " ")
	if !strings.Contains(got, `write "fix-hello-name" into rules of the route`) || strings.Contains(got, "put smtpshim") {
		t.Errorf("told as %s", got)
	}
}
