package rewrite

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// patterns have literals of every kind: before, within and behind what varies.
var patterns = []struct {
	text, literals string // with commas between
}{
	{`Old Mail`, "Old Mail"},
	{`Old (?:Mail|Post)`, "Old "},
	{`^Old [0-9]+ Gateway$`, " Gateway"},
	{`Mail 1\.(?:0|5)\.|Mail 2\.`, "Mail "},
	{`\.old\.example|\.new\.example`, "old.example,new.example"},
	{`^[^\n]*\nX-OLD(?:\n[^\n]*)*$`, "X-OLD"},
	{`\n`, "\n"},
	{`(?m)^X-OLD$`, "X-OLD"},
	{`^(?:[*20 ]*\*[*20 ]*|SMTP/map.*)$`, "*,SMTP/map"},
	{`^ *DP-[0-9]+[A-Z]?$`, "DP-"},
	{`(Mail)+`, "Mail"},
	{`(?:Mail){2,}`, "Mail"},
	{`Ma.l|[Pp]ost`, "Ma,ost"},
	{`(?i)old mail`, ""},
	{`(?:Mail)*`, ""},
	{`(?:Mail){0,2}`, ""},
	{`(?:Old Mail)?`, ""},
	{`Mail|`, ""},
	{`Mail|[0-9]+`, ""},
	{`[a-z]+`, ""},
	{`M\x{fffd}`, ""},
	{`^$`, ""},
}

func TestAPatternKnowsALiteralOfEveryMatch(t *testing.T) {
	for _, p := range patterns {
		made, err := newPattern(p.text)
		if err != nil {
			t.Fatal(err)
		}
		var literals []string
		for _, l := range made.literals {
			literals = append(literals, string(l))
		}
		if got := strings.Join(literals, ","); got != p.literals {
			t.Errorf("%q has the literals %q, not %q", p.text, got, p.literals)
		}
	}
}

// What a sieve and a pattern say of a text is what the regular expression alone says.
func TestASieveLosesNoMatch(t *testing.T) {
	s := new(sieve)
	var made []*pattern
	var alone []*regexp.Regexp
	for i, p := range patterns {
		one, err := newPattern(p.text)
		if err != nil {
			t.Fatal(err)
		}
		made, alone = append(made, one), append(alone, regexp.MustCompile(p.text))
		s.add(i, one)
	}
	s.add(len(made), nil)
	pieces := strings.Split("Old |Old 7| Gateway|Mail|Post|ail|X-OLD|\n|*|2|0| |SMTP/map|SMTP|DP-|7|A|.old|.new|.example|Mail 1.0.|\xff|\u212a|OLD MAIL|O|M", "|")
	random := rand.New(rand.NewPCG(1, 2))
	matched := make([]int, len(made))
	for range 20_000 {
		var text []byte
		for range random.IntN(6) {
			text = append(text, pieces[random.IntN(len(pieces))]...)
		}
		may := s.sift(text)
		for i, p := range made {
			want := alone[i].Match(text)
			if got := may.has(i) && p.matches(text); got != want {
				t.Fatalf("%q in %q: %v, not %v", patterns[i].text, text, got, want)
			}
			if want {
				matched[i]++
			}
		}
		if may.has(len(made)) {
			t.Fatalf("%q may show a product that has no pattern", text)
		}
	}
	for i, n := range matched {
		if n == 0 {
			t.Errorf("no text has matched %q", patterns[i].text)
		}
	}
}
