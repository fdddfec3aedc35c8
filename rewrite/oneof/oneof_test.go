package oneof

import (
	"strings"
	"testing"
)

func TestTheWordThatWasMeantIsNamed(t *testing.T) {
	known := []string{"listen", "servers", "data", "data_end", "fix-hello-name", "tls", "JSON", "cisco-pix", "refresh-token"}
	for word, want := range map[string]string{
		"lisetn": "listen", "server": "servers", "dataend": "data_end", "fix-helo-name": "fix-hello-name",
		"tsl": "tls", "colour": "", "": "", "x": "", "dat": "data", "json": "JSON", "TLS": "tls", "pix": "cisco-pix",
		"Refresh": "refresh-token", "-": "",
	} {
		got := DidYouMean(word, known)
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func TestAWordThatIsPartOfSeveralNamesThemAll(t *testing.T) {
	if got, want := DidYouMean("exchange", []string{"exchange-5.0", "exchange-5.5", "iis-4"}), `; did you mean "exchange-5.0" or "exchange-5.5"?`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := DidYouMean("a", []string{"a-1", "a-2", "a-3", "a-4", "a-5", "a-6", "a-7"}); got != "" {
		t.Errorf("seven are named: %q", got)
	}
}

func TestWordsAreListedInPlainEnglish(t *testing.T) {
	for want, words := range map[string][]string{
		``:                  nil,
		`"a"`:               {"a"},
		`"a" or ""`:         {"a", ""},
		`"a", "b" or "c d"`: {"a", "b", "c d"},
	} {
		if got := Or(words); got != want {
			t.Errorf("%q: %s, want %s", words, got, want)
		}
		if got, want := Names(words), strings.ReplaceAll(strings.Replace(want, " or ", " and ", 1), `"`, ""); got != want {
			t.Errorf("%q: %s, want %s", words, got, want)
		}
		if got, want := And(words), strings.Replace(want, " or ", " and ", 1); got != want {
			t.Errorf("%q: %s, want %s", words, got, want)
		}
	}
}

func TestAWordThatIsKnownHasItsPlaceAndAnotherAnError(t *testing.T) {
	words := []string{"pass", "offer", "require"}
	if i, err := Index("require", words); i != 2 || err != nil {
		t.Errorf("%d, %v", i, err)
	}
	if _, err := Index("requier", words); err == nil || err.Error() != `"requier" is not one of "pass", "offer" or "require"; did you mean "require"?` {
		t.Error(err)
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
