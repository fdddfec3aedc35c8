package rewrite_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smtpshim/rewrite"
	player "smtpshim/rewrite/play"
	"smtpshim/rewrite/transcript"
	"smtpshim/rewrite/vocabulary"
)

var update = flag.Bool("update", false, "write what the rules do now into testdata; git diff judges")

// TestRulesDoWhatTheTranscriptsSay plays every dialogue of testdata against the
// rules alone, without a network.
func TestRulesDoWhatTheTranscriptsSay(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no dialogues in testdata: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) { playFile(t, name) })
	}
}

func parseFile(t *testing.T, name string) *transcript.File {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := transcript.Parse(name, data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func playFile(t *testing.T, name string) {
	f := parseFile(t, name)
	var l reasons
	got := play(t, f, &l)
	diff := transcript.Compare(f.Dialogue, got)
	if diff == "" {
		return
	}
	if !*update {
		t.Fatalf("%s:\n%s%s", name, diff, strings.Join(l.broke, ""))
	}
	f.Dialogue = got
	if err := os.WriteFile(name, f.Format(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// play plays a file, with a listener.
func play(t *testing.T, f *transcript.File, l rewrite.Listener) []transcript.Line {
	t.Helper()
	return playUnder(t, policyOf(t, f), f, l)
}

// playUnder is play with another policy than the file has.
func playUnder(t *testing.T, policy *rewrite.Policy, f *transcript.File, l rewrite.Listener) []transcript.Line {
	t.Helper()
	return player.Delivered(f, policy, l, func(d *rewrite.Dialogue) {
		if failure := d.Failure(); (failure == "") != (d.Reason() == "") {
			t.Errorf("failed for %q, and the reason is %q", failure, d.Reason())
		}
	})
}

func policyOf(t *testing.T, f *transcript.File) *rewrite.Policy {
	t.Helper()
	policy, err := player.Policy(f)
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

// reasons is a listener that keeps why the engine did not take what a rule made.
type reasons struct {
	silent
	broke []string
}

func (r *reasons) Broke(rule, why string) {
	r.broke = append(r.broke, fmt.Sprintf("\nwhat %s made was not taken: %s", rule, why))
}

// silent is a listener that hears nothing.
type silent struct{}

func (silent) Command(rewrite.Verb)              {}
func (silent) Replied(rewrite.Verb, int, []byte) {}
func (silent) Applied(string)                    {}
func (silent) Broke(_, _ string)                 {}
func (silent) Limited(vocabulary.Limit)          {}
func (silent) Authenticated(vocabulary.Side, vocabulary.Mechanism, vocabulary.AuthOutcome) {
}
