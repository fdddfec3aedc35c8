package rewrite

import (
	"bytes"
	"strings"
	"testing"
)

func TestLinesAreFoldedAtTheLimitAndNoSooner(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"a\r\n", "a\r\n"},
		{x(998) + "\r\n", x(998) + "\r\n"},
		{x(999) + "\r\n", x(998) + "\r\n x\r\n"},
		{x(998+997) + "\r\n", x(998) + "\r\n " + x(997) + "\r\n"},
		{x(998+998) + "\r\n", x(998) + "\r\n " + x(997) + "\r\n x\r\n"},
		{"a\r\n" + x(999) + "\r\nb\r\n.\r\n", "a\r\n" + x(998) + "\r\n x\r\nb\r\n.\r\n"},
		{"." + x(998) + "\r\n", "." + x(998) + "\r\n"}, // the dot is not counted
		{".." + x(997) + "\r\n", ".." + x(997) + "\r\n"},
		{"." + x(999) + "\r\n", "." + x(998) + "\r\n x\r\n"},
		{x(998) + ".\r\n.\r\n", x(998) + "\r\n .\r\n.\r\n"},
	} {
		for _, size := range []int{1, 2, 3, 997, 998, 999, 1000, 1 << 20} {
			var l Lines
			var got []byte
			for src := []byte(c.in); len(src) > 0; {
				n := min(size, len(src))
				got = append(got, l.Fold(nil, src[:n])...)
				src = src[n:]
			}
			if string(got) != c.want {
				t.Errorf("in pieces of %d: %d octets became %d, want %d", size, len(c.in), len(got), len(c.want))
			}
		}
	}
}

func TestALineOfTheLimitIsNotTooLongWhereverItIsCut(t *testing.T) {
	for _, dot := range []string{"", "."} {
		src := []byte(dot + strings.Repeat("x", 998) + "\r\n")
		for cut := range src {
			var l Lines
			l.Measure(src[:cut])
			l.Measure(src[cut:])
			if l.Long() != 0 {
				t.Errorf("%d octets cut at %d: counted as too long", len(src), cut)
			}
		}
	}
}

func TestShortLinesAreNotCopied(t *testing.T) {
	src := bytes.Repeat([]byte("a line\r\n"), 1000)
	var l Lines
	if out := l.Fold(nil, src); &out[0] != &src[0] || len(out) != len(src) {
		t.Error("what needs no folding was copied")
	}
}

// FuzzFold: no line is too long, nothing but folds is added, however the
// message is cut, and Measure counts a long line exactly where Fold acts.
func FuzzFold(f *testing.F) {
	f.Add([]byte(strings.Repeat("y", 2500)+"\r\n.\r\n"), 700)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		// Message lets no other CR or LF through.
		src := []byte(strings.NewReplacer("\r", " ").Replace(string(text)))
		src = bytes.ReplaceAll(src, []byte("\n"), []byte("\r\n"))
		cut = min(max(cut, 0), len(src))
		var whole, parts, measured Lines
		want := append([]byte(nil), whole.Fold(nil, src)...)
		got := append([]byte(nil), parts.Fold(nil, src[:cut])...)
		got = append(got, parts.Fold(nil, src[cut:])...)
		if !bytes.Equal(got, want) {
			t.Fatalf("cut at %d: %q, whole: %q", cut, got, want)
		}
		for line := range bytes.SplitSeq(want, []byte("\r\n")) {
			if len(bytes.TrimPrefix(line, []byte("."))) > maxText {
				t.Fatalf("a line of %d octets", len(line))
			}
		}
		measured.Measure(src[:cut])
		measured.Measure(src[cut:])
		if (measured.Long() > 0) != (whole.Long() > 0) {
			t.Fatalf("Measure counts %d, Fold %d", measured.Long(), whole.Long())
		}
		if whole.Long() == 0 && !bytes.Equal(want, src) {
			t.Fatal("changed although nothing was too long")
		}
	})
}

func TestLinesMayHaveAnotherLength(t *testing.T) {
	l := Lines{Max: 5}
	if got := string(l.Fold(nil, []byte("abcde\r\n..bcde\r\nabcdefghijk\r\n"))); got != "abcde\r\n..bcde\r\nabcde\r\n fghi\r\n jk\r\n" || l.Long() != 2 {
		t.Errorf("%q, %d long", got, l.Long())
	}
	l = Lines{Max: 5}
	if l.Measure([]byte("abcde\r\n..bcde\r\nabcdef\r\n")); l.Long() != 1 {
		t.Errorf("%d lines are long", l.Long())
	}
}

// A line that follows a break begins with a blank, so that one octet is no length for it.
func TestTheShortestLineThatFoldMakesHasABlankAndAnOctet(t *testing.T) {
	for most := 1; most <= 2; most++ {
		l := Lines{Max: most}
		if got := string(l.Fold(nil, []byte("abcd\r\n"))); got != "ab\r\n c\r\n d\r\n" {
			t.Errorf("with %d at most: %q", most, got)
		}
	}
}
