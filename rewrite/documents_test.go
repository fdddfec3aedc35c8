package rewrite_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	player "smtpshim/rewrite/play"
	"smtpshim/rewrite/transcript"
)

// facts are the numbers that LEGACY.md has, in its order.
func facts(t *testing.T) (list []string) {
	t.Helper()
	text, err := os.ReadFile("LEGACY.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile(`(?m)^\*\*(L\d+)\*\* \S`).FindAllStringSubmatch(string(text), -1) {
		list = append(list, found[1])
	}
	return list
}

func TestTheFactsAreThoseOfTheCatalogue(t *testing.T) {
	var want []string
	for _, subject := range heal.Catalogue() {
		for _, e := range subject.Entries {
			want = append(want, e.Number)
		}
	}
	if got := facts(t); !slices.Equal(got, want) {
		t.Errorf("LEGACY.md has %q,\nwant %q", got, want)
	}
}

func TestNumbersThatTheSourceCitesAreThere(t *testing.T) {
	known, cited := facts(t), 0
	number := regexp.MustCompile(`\bL\d{2,3}\b`)
	for _, folder := range []string{"../cmd", "../metrics", "../proxy", "."} {
		err := filepath.WalkDir(folder, func(file string, entry fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, ".md") && !strings.HasSuffix(file, ".txt") {
				return err
			}
			text, err := os.ReadFile(file)
			for _, n := range number.FindAllString(string(text), -1) {
				cited++
				if n != "L999" && !slices.Contains(known, n) { // L999 is one that is not there
					t.Errorf("%s cites %s, which LEGACY.md does not have", file, n)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if cited < 300 {
		t.Errorf("%d citations found, want at least 300", cited)
	}
}

// What README.md has somebody write in 30 minutes. The text there is this, from here on.

func greylisting() rewrite.Rule {
	return rewrite.Rule{
		Name:  "greylisting",
		Heals: "senders that return mail because a server greylists with 550",
		Doc: "Greylisting asks a client to come again, for which 450 is the code. On 550 clients return the mail. " +
			"A 550 that says nothing of greylisting passes.",
		Symptoms: []string{"550 5.7.1 Greylisted, come back later"},
		Source:   "assumed; RFC 5321, 4.2.1 and 4.2.2 (450)",
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Refusals: rewrite.SetOf(rewrite.VerbRCPT), Reply: mendGreylisting}, nil
		},
	}
}

func mendGreylisting(t *rewrite.Turn) {
	r := t.Reply()
	if r.Code != 550 || !strings.HasPrefix(r.Lines[0], "5.7.1 Greylisted") {
		return
	}
	r.Code = 450
	for i, text := range r.Lines {
		r.Lines[i] = strings.Replace(text, "5.7.1", "4.7.1", 1)
	}
}

// Up to here.

func TestTheReadmesRuleDoesWhatItsTranscriptsSay(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("documents_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rule, _ := strings.Cut(string(source), "from here on.\n\n")
	rule, _, _ = strings.Cut(rule, "\n// Up to here.\n")
	if !strings.Contains(string(readme), indent(rule)) {
		t.Errorf("README.md does not have this rule:\n%s", indent(rule))
	}
	book := heal.Book()
	book.Rules = append(book.Rules, greylisting())
	played := 0
	for part := range strings.SplitSeq(string(readme), "\n\n    ") {
		text, _, _ := strings.Cut(part, "\n\n")
		text = strings.ReplaceAll(text, "\n    ", "\n") + "\n"
		if !strings.Contains(text, "\n-- rules --\ngreylisting\n") {
			continue
		}
		played++
		f, err := transcript.Parse("README.md", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		rules, errs := book.Compile(f.Rules, f.Options)
		if errs != nil {
			t.Fatal(errs)
		}
		f.Rules, f.Options = nil, nil // the player knows the rules of heal alone
		policy, err := player.Policy(f)
		if err != nil {
			t.Fatal(err)
		}
		policy.Rules = rules
		if diff := transcript.Compare(f.Dialogue, playUnder(t, policy, f, silent{})); diff != "" {
			t.Errorf("README.md:\n%s\n%s", text, diff)
		}
	}
	if played != 2 {
		t.Errorf("%d transcripts of the rule found, want 2", played)
	}
}

// indent makes of source what stands in a document.
func indent(source string) string {
	var out strings.Builder
	for line := range strings.Lines(source) {
		text := strings.TrimLeft(line, "\t")
		if text != "\n" {
			out.WriteString(strings.Repeat("    ", 1+len(line)-len(text)))
		}
		out.WriteString(text)
	}
	return out.String()
}
