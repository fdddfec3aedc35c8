package main

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/proxy/tlspolicy"
	"smtpshim/rewrite/heal"
)

// call runs the program.
func call(args ...string) (status int, stdout, stderr string) {
	var out, errs strings.Builder
	status = run(args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestTheExitStatusSaysHowItWent(t *testing.T) {
	configDir(t)
	for _, c := range []struct {
		args   string
		status int
		out    string // something of stdout
		err    string // something of stderr
	}{
		{"", misused, "", "Example:"},
		{"help", succeeded, "smtpshim check -config /etc/smtpshim/smtpshim.toml", ""},
		{"-h", succeeded, "Example:", ""},
		{"--help", succeeded, "Example:", ""},
		{"help demo", succeeded, "usage: smtpshim demo [-listen ADDR", ""},
		{"help chekc", misused, "", `did you mean "check"?`},
		{"--version", succeeded, runtime.Version(), ""},
		{"-version", succeeded, runtime.Version(), ""},
		{"-V", succeeded, runtime.Version(), ""},
		{"check -config minimal.toml -strict", succeeded, "0 warnings.", ""},
		{"check -config everything.toml -strict", failed, "2 warnings.", ""},
		{"check -config mode.toml -strict", failed, "", "mode.toml:6: route.client_tls.mode: "},
		{"demo standard", misused, "", `"standard" is a rule or a set of rules, and no simulation`},
		{"demo iis4", misused, "", `"iis-4"?`},
		{"demo iis-44 -listen 127.0.0.1:0", misused, "", `there is no simulation "iis-44"; did you mean`},
		{"rules mend-505 -json", misused, "", "leave NAME out"},
		{"chekc", misused, "", `did you mean "check"?`},
		{"check", failed, "", "reading smtpshim.toml: "},
		{"check -strikt", misused, "", `smtpshim check: there is no flag -strikt; did you mean "-strict"?`},
		{"check --strikt", misused, "", `did you mean "-strict"?`},
		{"ready -config", misused, "", "smtpshim ready: flag needs an argument: -config"},
		{"check -config minimal.toml", succeeded, "minimal.toml is right: 1 route, 0 warnings.", ""},
		{"check -config everything.toml", succeeded, "everything.toml is right: 2 routes, 2 warnings.", ""},
		{"check -config mode.toml", failed, "", "mode.toml:6: route.client_tls.mode: "},
		{"check minimal.toml", misused, "", `"minimal.toml" is one word too many`},
		{"check -colour", misused, "", "usage: smtpshim check [-config FILE]"},
		{"check -h", succeeded, "", "usage: smtpshim check [-config FILE]"},
		{"run -h", succeeded, "", "usage: smtpshim run [-config FILE]"},
		{"run -config mode.toml", failed, "", "mode.toml:11: route.server_tls.mode: "},
		{"run now", misused, "", `"now" is one word too many`},
		{"rules", succeeded, "join-data-reply", ""},
		{"rules join-data-reply", succeeded, `replies = "data"`, ""},
		{"rules hide-keywords", succeeded, "keywords = []  ", ""},
		{"rules mend-505", succeeded, "clients = []  ", ""},
		{"rules standard", succeeded, "join-data-reply", ""},
		{"rules join-data-replies", failed, "", `did you mean "join-data-reply"?`},
		{"rules -markdown", succeeded, "| `join-data-reply` |", ""},
		{"rules -markdown standard", misused, "", "leave NAME out"},
		{"rules -coverage", succeeded, "client takes line two of a greeting", ""},
		{"rules -coverage -markdown", succeeded, "### Greeting and connection\n", ""},
		{"rules -coverage L01", misused, "", "-coverage prints all there is; leave NAME out"},
		{"rules -json", succeeded, `"name": "join-data-reply"`, ""},
		{"rules -json -coverage", misused, "", "leave -markdown and -coverage out"},
		{"rules L60", succeeded, "healed: `join-data-reply`", ""},
		{"rules l60", succeeded, "healed: `join-data-reply`", ""},
		{"rules L999", failed, "", `no entry "L999" in the catalogue; "smtpshim rules -coverage" lists it`},
		{"rules l48", succeeded, "In code:", ""},
		{"rules Q240832", succeeded, "fix-hello-name\n", ""},
		{"rules a b", misused, "", `"b" is one word too many`},
		{"version", succeeded, runtime.Version(), ""},
		{"version 2", misused, "", `"2" is one word too many`},
	} {
		status, out, err := call(strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(out, c.out) || !strings.Contains(err, c.err) ||
			c.out == "" && out != "" || c.err == "" && err != "" {
			t.Errorf("%q: %d\n%s\n%s", c.args, status, out, err)
		}
	}
}

func TestEverythingFitsTheTerminal(t *testing.T) {
	configDir(t)
	calls := [][]string{{"rules", "-coverage"}, {"rules", "501 invalid address"}, {"demo"}, {"demo", "exchange-6"}, {"demo", "-listen", "127.0.0.1:0"}, {"help"}, {"rules"}, {"version"}, {"check", "-config", "everything.toml"}, {"check", "-config", "tls-everything.toml"}, {"check", "-config", "minimal.toml"}}
	for _, c := range commands() {
		calls = append(calls, []string{c.name, "-h"})
	}
	for _, r := range heal.Table() {
		calls = append(calls, []string{"rules", r.Name})
	}
	for _, s := range heal.Sets() {
		calls = append(calls, []string{"rules", s.Name})
	}
	for _, s := range heal.Catalogue() {
		for _, e := range s.Entries {
			calls = append(calls, []string{"rules", e.Number})
		}
	}
	for _, args := range calls {
		_, out, err := call(args...)
		for line := range strings.Lines(out + err) {
			if n := width(line); n >= columns {
				t.Errorf("%q: %d columns: %s", args, n, line)
			}
		}
	}
	_, out, _ := call("help")
	if n := strings.Count(out, "\n"); n > 24 {
		t.Errorf("the usage has %d lines, a screen 24", n)
	}
}

// width is how many columns of a terminal a line takes.
func width(line string) (n int) {
	for _, r := range strings.TrimSuffix(line, "\n") {
		if n++; r == '\t' {
			n += -n & 7 // to the next of the stops, which are 8 apart
		}
	}
	return n
}

func TestCheckSaysOnceWhatRoutesHaveInCommon(t *testing.T) {
	t.Chdir(t.TempDir())
	var text strings.Builder
	for i := range 5 {
		fmt.Fprintf(&text, "[[route]]\nname = \"r%d\"\nlisten = [\"127.0.0.1:%d\"]\nservers = [\"192.0.2.1:25\"]\n", i, 2525+i)
	}
	write(t, "smtpshim.toml", text.String()+"rules = [\"fall-back-to-helo\"]\n")
	status, out, err := call("check")
	if n := strings.Count(out, "\n"); status != succeeded || n > 64 {
		t.Errorf("%d, and %d lines for 5 routes\n%s%s", status, n, out, err)
	}
	if n := strings.Count(out, "rules          as in route r0\n"); n != 3 {
		t.Errorf("%d routes are like the first, want 3:\n%s", n, out)
	}
	if n := strings.Count(out, "fall-back-to-helo"); n != 2 {
		t.Errorf("two sets of rules are told %d times:\n%s", n, out)
	}
}

func TestCheckTellsWhatEachRouteWillDo(t *testing.T) {
	configDir(t)
	_, out, _ := call("check", "-config", "everything.toml")
	words := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{
		"route in listens on [::1]:2525, 127.0.0.1:2525 servers mail.example.com:25, then [2001:db8::1]:2525",
		"client TLS require: clients must use STARTTLS, which ends here",
		"server TLS require: STARTTLS, or no mail; the certificate must be for mail.example.net",
		"PROXY header must come first from 192.0.2.0/24, 2001:db8::1/128",
		"limits sessions 10 timeouts command 1h30m rules",
		"rules join-data-reply, no-valid-recipients, one-auth-line, starttls-keyword",
		"route out listens on :2526",
		"server TLS implicit: connections begin with TLS; the certificate is not verified versions TLS 1.2 to 1.3 ciphers modern (ECDHE with AES-GCM or ChaCha20), those of TLS 1.3 rules stray-bytes alone",
		"WARNING :2526 can be reached",
		"WARNING server_tls, verify = false",
		"admin listener off log json, level debug drain 1m",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("check does not say %q:\n%s", want, out)
		}
	}
	for _, no := range []string{"translate-xauth", "limits sessions 1000"} {
		if strings.Contains(words, no) {
			t.Errorf("check says %q:\n%s", no, out)
		}
	}
}

func TestCheckReportsTheMistakesOfTheConfiguration(t *testing.T) {
	configDir(t)
	files, err := filepath.Glob("*.err")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		file = strings.TrimSuffix(file, ".err") + ".toml"
		_, want := config.Read(file, tlspolicy.SelfSigned)
		if status, out, err := call("check", "-config", file); status != failed || out != "" || err != want.Error()+"\n" {
			t.Errorf("%s: %d\n%s\n%s", file, status, out, err)
		}
	}
}

func TestRulesTellsAllThereIs(t *testing.T) {
	_, list, _ := call("rules")
	_, table, _ := call("rules", "-markdown")
	list = strings.Join(strings.Fields(list), " ")
	for _, r := range heal.Table() {
		if !strings.Contains(list, r.Name+" "+r.Heals) {
			t.Errorf("the list does not have %s", r.Name)
		}
		if row := "| `" + r.Name + "` | " + cell(r.Heals) + " | " + cell(r.Source) + " |\n"; !strings.Contains(table, row) {
			t.Errorf("the table does not have %s", row)
		}
		_, one, _ := call("rules", r.Name)
		one = strings.Join(strings.Fields(one), " ")
		wanted := append([]string{r.Heals, r.Doc, r.Source}, r.Symptoms...)
		for _, o := range r.AllOptions() {
			wanted = append(wanted, o.Name+" = "+tomlValue(o.Default)+" "+o.Doc)
		}
		for _, want := range wanted {
			if !strings.Contains(one, strings.Join(strings.Fields(want), " ")) {
				t.Errorf("rules %s does not say %q", r.Name, want)
			}
		}
	}
	for _, s := range heal.Sets() {
		if want := s.Name + " " + s.Doc + " " + strings.Join(s.Rules, ", "); !strings.Contains(list, want) {
			t.Errorf("the list does not have %q", want)
		}
	}
	if want := "Every rule has the options clients, hello and banner"; !strings.Contains(list, want) {
		t.Errorf("the list does not say %q", want)
	}
	if cell("a|b") != `a\|b` {
		t.Error("a bar ends a cell")
	}
}
