package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
)

// ownIn is a text in our source with which we refuse for a while, or for good.
var ownIn = regexp.MustCompile("\"((?:421|451|454|554|555) [45]\\.[0-9]\\.[0-9]+ [^\"]*)\"")

func TestEveryTextOfOurOwnIsExplainedAsSuchAndOnce(t *testing.T) {
	explains, seen := newExplainer(), 0
	for _, pattern := range []string{"../../proxy/*.go", "../../rewrite/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range ownIn.FindAllSubmatch(source, -1) {
				text := strings.TrimSuffix(string(m[1]), `\r\n`)
				seen++
				for _, line := range []string{text, strings.ToUpper(text), text[4:], "host mx.example.com said: " + text + " (in reply to MAIL)"} {
					causes := explains.causesOf(line)
					of := slices.DeleteFunc(slices.Clone(causes), func(c cause) bool { return c.Source != ownSource })
					if len(of) != 1 || causes[0].Source != ownSource || slices.ContainsFunc(causes, func(c cause) bool { return strings.Contains(c.Do, "put smtpshim") }) {
						t.Errorf("%s: %q is told as %+v", file, line, causes)
					}
				}
			}
		}
	}
	if seen < 30 {
		t.Errorf("our source has %d texts", seen)
	}
	for _, o := range ownTexts() {
		if causes, _ := explains.ownCauses(o.text); len(causes) != 1 || causes[0].Means != o.means || o.do == "" {
			t.Errorf("%q is told as %+v", o.text, causes)
		}
	}
}

func TestThatNoServerWasReachedIsToldOnceAndAsOurs(t *testing.T) {
	const reached = "smtpshim sends this when it reached no server"
	explains := newExplainer()
	if causes := explains.causesOf("421 4.3.2 server not available"); len(causes) != 1 || causes[0].Means != reached {
		t.Errorf("told as %+v", causes)
	}
	log := `time=2026-11-20T10:00:00Z level=WARN msg=session route=in outcome=server-unreachable messages=0 refused=greeting code=421 text="4.3.2 server not available" ` +
		`while="connecting to the server" err="dial tcp 192.0.2.25:25: connect: connection refused, then we said 421 4.3.2 server not available"` + "\n"
	var stdout, stderr bytes.Buffer
	if status := explainFrom([]string{"-"}, strings.NewReader(log+log), &stdout, &stderr); status != succeeded {
		t.Fatalf("status %d: %s", status, &stderr)
	}
	got := strings.Join(strings.Fields(stdout.String()), " ")
	if strings.Count(got, reached) != 1 || !strings.Contains(got, "there is no connection to the server") || strings.Contains(got, "rule") ||
		!strings.Contains(got, "in 2 of the 2 lines") {
		t.Errorf("told as\n%s", &stdout)
	}
}

func TestALineIsCountedOnceForEachCause(t *testing.T) {
	e, err := newExplainer().explain(strings.NewReader("msg=session outcome=refused code=530 text=\"5.7.0 authentication required\"\n" +
		"535 5.7.139 Authentication unsuccessful, basic authentication is disabled.\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range e.Found {
		if f.Lines != 1 {
			t.Errorf("%q is in %d lines", f.Means, f.Lines)
		}
	}
}

func TestARefusalForWantOfALoginIsToldAsOursWhereTheLogSaysSo(t *testing.T) {
	line := `msg=session outcome=refused refused=MAIL code=530 text="5.7.0 authentication required" means="` + rewrite.NoLoginMeans + `" do="` + rewrite.NoLoginDo + `"`
	causes := newExplainer().causesOf(line)
	if len(causes) == 0 || causes[0].Means != rewrite.NoLoginMeans || causes[0].Do != rewrite.NoLoginDo {
		t.Fatalf("told as %+v", causes)
	}
	for _, c := range causes[1:] {
		if strings.Contains(c.Means, "has not logged in") || c.Rule != "" {
			t.Errorf("told as %+v too", c)
		}
	}
	plainly := newExplainer().causesOf("530 5.7.0 authentication required")
	if len(plainly) == 0 || !strings.Contains(plainly[0].Do, "if smtpshim itself sent this, no [[route.login]]") {
		t.Errorf("without the log it is told as %+v", plainly)
	}
}

func TestAFileThatIsNamedIsRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run.log")
	if err := os.WriteFile(file, []byte("421 4.3.2 server not available\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if status := explainFrom([]string{file}, nil, &stdout, &stderr); status != succeeded || !strings.Contains(stdout.String(), "reached no server") {
		t.Errorf("status %d, %q, %q", status, &stdout, &stderr)
	}
}

func TestAdviceOnALineOfOurLogTakesSmtpshimForGranted(t *testing.T) {
	causes := newExplainer().causesOf(`level=WARN msg=session outcome=refused refused=MAIL code=501 text="5.5.4 Invalid Address"`)
	if len(causes) == 0 || !strings.Contains(causes[0].Do, `write "fix-hello-name" into rules of the route`) {
		t.Errorf("told as %+v", causes)
	}
	for _, c := range causes {
		if strings.Contains(c.Do, "put smtpshim") {
			t.Errorf("told to %q", c.Do)
		}
	}
}

func TestBasicAuthenticationThatIsDisabledIsKnownWithoutItsCode(t *testing.T) {
	for _, text := range []string{"basic authentication is disabled", "535 5.7.139 Authentication unsuccessful, basic authentication is disabled."} {
		causes := newExplainer().causesOf(text)
		if len(causes) != 1 || !strings.Contains(causes[0].Do, "[[route.login]]") || !strings.Contains(causes[0].Do, "scanners-microsoft-365") {
			t.Errorf("%q is told as %+v", text, causes)
		}
	}
	if _, err := os.Stat("../../deploy/recipes/scanners-microsoft-365.md"); err != nil {
		t.Error(err)
	}
}
