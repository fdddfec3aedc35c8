package main

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTheWordThatWasMeantIsNamed(t *testing.T) {
	known := []string{"listen", "servers", "data", "data_end", "fix-hello-name", "tls"}
	for word, want := range map[string]string{
		"lisetn": "listen", "server": "servers", "dataend": "data_end", "fix-helo-name": "fix-hello-name",
		"tsl": "tls", "colour": "", "": "", "x": "", "dat": "data",
	} {
		got := didYouMean(word, known)
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func TestDistanceCountsSingleMistakes(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "axc", 1},
		{"abc", "bc", 1}, {"abc", "abcd", 1}, {"abcd", "badc", 2}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q, %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestWrapKeepsEveryWordAndTheWidth(t *testing.T) {
	for _, text := range []string{"", "one", "a few words that are wrapped", "añb ñññññ ñññ", "averyverylongword and more"} {
		lines := wrap(text, 9)
		if !slices.Equal(strings.Fields(strings.Join(lines, " ")), strings.Fields(text)) || len(lines) == 0 {
			t.Errorf("%q became %q", text, lines)
		}
		for _, line := range lines {
			if utf8.RuneCountInString(line) > 9 && strings.Contains(line, " ") {
				t.Errorf("%q is wider than 9", line)
			}
		}
	}
}

func TestEntryHangsTheText(t *testing.T) {
	var b strings.Builder
	entry(&b, 2, "name", 8, "text")
	entry(&b, 2, "longname", 8, strings.Repeat("word ", 20))
	entry(&b, 2, "", 8, "")
	want := "  name  text\n" +
		"  longname\n" +
		"        " + strings.TrimSpace(strings.Repeat("word ", 14)) + "\n" +
		"        " + strings.TrimSpace(strings.Repeat("word ", 6)) + "\n\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
