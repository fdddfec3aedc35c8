package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite/heal"
)

// A corpusText is a text of a corpus, and what is expected of it; testdata/explain/corpus.txt
// says in what form.
type corpusText struct {
	line     int // of the file
	expected []string
	of, text string
}

var corpusHead = regexp.MustCompile(`^=== (.+?) -- (.+)$`)

// textsIn reads a corpus, and checks that what it expects can be.
func textsIn(t *testing.T, file string) (texts []corpusText) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string]bool{}
	for _, r := range heal.Table() {
		rules[r.Name] = true
	}
	var text strings.Builder
	end := func() {
		if len(texts) > 0 {
			texts[len(texts)-1].text = strings.Trim(text.String(), "\n") + "\n"
		}
		text.Reset()
	}
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		head := corpusHead.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if head == nil {
			text.WriteString(line)
			continue
		}
		end()
		s := corpusText{line: number, expected: strings.Split(head[1], " | "), of: head[2]}
		for _, e := range s.expected {
			if !strings.HasPrefix(e, `"`) && e != "nothing" && !rules[e] {
				t.Errorf("%s:%d: there is no rule %q", file, number, e)
			}
		}
		texts = append(texts, s)
	}
	end()
	return texts
}

// A verdict is what became of a text.
type verdict struct {
	right, sure bool
	got         string
}

func judge(explains *explainer, s corpusText) (verdict, error) {
	e, err := explains.explain(strings.NewReader(s.text))
	if err != nil {
		return verdict{}, err
	}
	found := e.Found
	if found == nil {
		return verdict{slices.Contains(s.expected, "nothing"), false, "nothing"}, nil
	}
	first := found[0]
	v := verdict{sure: !first.Guess, got: fmt.Sprintf("%s %q", first.Rule, first.Means)}
	for _, e := range s.expected {
		if first.Rule == e || strings.HasPrefix(e, `"`) && strings.Contains(first.Means, strings.Trim(e, `"`)) {
			v.right = true
		}
	}
	return v, nil
}

// The first answer to texts as people have them is right, mostly, and where it is not it
// says itself that it is a guess.
func TestTheFirstAnswerIsRight(t *testing.T) {
	explains := newExplainer()
	for file, least := range map[string]int{"testdata/explain/corpus.txt": 120, "testdata/explain/check.txt": 60, "testdata/explain/check-2.txt": 30} {
		texts, right := textsIn(t, file), 0
		if len(texts) < least {
			t.Errorf("%s has %d texts, fewer than %d", file, len(texts), least)
		}
		for _, s := range texts {
			v, err := judge(explains, s)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case v.right:
				right++
			case v.sure:
				t.Errorf("%s:%d: %s: sure and wrong: %s, want %s", file, s.line, s.of, v.got, strings.Join(s.expected, " | "))
			default:
				t.Logf("%s:%d: %s: %s, want %s", file, s.line, s.of, v.got, strings.Join(s.expected, " | "))
			}
		}
		share := float64(right) / float64(len(texts))
		t.Logf("%s: %d of %d right, %.1f %%", file, right, len(texts), 100*share)
		if share < 0.95 {
			t.Errorf("%s: the first answer is right for %.1f %% of the texts, want 95 %%", file, 100*share)
		}
	}
}

// The table in the README says what explain says, and each of its rows is in the corpus.
func TestTheReadmeHasWhatIsSeenAsItIsExplained(t *testing.T) {
	_, section, _ := strings.Cut(read(t, top+"/README.md"), "\n| what you see | what it is | what to do |\n|---|---|---|\n")
	section, _, _ = strings.Cut(section, "\n\n")
	explains, texts, rows := newExplainer(), textsIn(t, "testdata/explain/corpus.txt"), 0
	for row := range strings.Lines(section) {
		rows++
		cells := strings.Split(strings.Trim(row, "| \n"), " | ")
		if len(cells) != 3 {
			t.Fatalf("%q has %d cells, want 3", row, len(cells))
		}
		seen := strings.Trim(cells[0], "`")
		e, err := explains.explain(strings.NewReader(seen))
		if err != nil {
			t.Fatal(err)
		}
		if e.Found == nil || e.Found[0].Guess {
			t.Errorf("%q is not explained", seen)
			continue
		}
		if first := e.Found[0]; first.Rule != "" && !strings.Contains(cells[2], "`"+first.Rule+"`") || first.Rule == "" && first.Means != cells[1] {
			t.Errorf("%q is explained as %q %q", seen, first.Rule, first.Means)
		}
		if !slices.ContainsFunc(texts, func(c corpusText) bool {
			return strings.Contains(strings.Join(strings.Fields(strings.ReplaceAll(c.text, "\n> ", " ")), " "), strings.TrimSuffix(seen, "."))
		}) {
			t.Errorf("%q is not in the corpus", seen)
		}
	}
	if rows < 8 {
		t.Errorf("the table has %d rows, fewer than 8", rows)
	}
}
