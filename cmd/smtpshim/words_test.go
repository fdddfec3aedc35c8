package main

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

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
