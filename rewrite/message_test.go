package rewrite

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// passMessage gives in to m in parts that end at each of the cuts, as reads from a
// connection would, and returns all that goes out and what is left over.
func passMessage(t testing.TB, m *Message, in []byte, cuts ...int) (out, rest []byte, end bool) {
	t.Helper()
	var scratch [64]byte
	done := 0
	for _, cut := range append(cuts, len(in)) {
		for !end {
			o, n, e := m.Next(scratch[:], in[done:cut])
			if n == 0 {
				if held := string(in[done:cut]); held != "" && held != "\r" && held != "." && held != ".\r" {
					t.Fatalf("%q: waits for more behind %q", in, held)
				}
				break
			}
			if max := 2*n + maxCRs; len(o) > max {
				t.Fatalf("%q: %d octets for %d", in, len(o), n)
			}
			out, done, end = append(out, o...), done+n, e
		}
	}
	return out, in[done:], end
}

// referenceMessage says the same as Message, of a whole input at once, in which no
// more than maxCRs CRs are in a row.
func referenceMessage(in string) (out, rest string, end bool) {
	body := in
	switch s := "\r\n" + in; {
	case strings.Contains(s, "\r\n.\r\n"):
		i := strings.Index(s, "\r\n.\r\n")
		body, rest, end = in[:i], in[i+3:], true
	case strings.HasSuffix(s, "\r\n.\r"):
		body, rest = in[:len(in)-2], ".\r"
	case strings.HasSuffix(s, "\n."):
		body, rest = in[:len(in)-1], "."
	case strings.HasSuffix(s, "\r") && !strings.HasSuffix(s, "\r\r"):
		body, rest = in[:len(in)-1], "\r"
	}
	var b strings.Builder
	single, behindLF := false, false
	for len(body) > 0 {
		line, behind, ended := strings.Cut(body, "\n")
		text := strings.TrimRight(line, "\r") // of a line that has not ended, CRs are kept back
		crs := len(line) - len(text)
		switch {
		case !strings.HasPrefix(text, "."):
		case !behindLF:
			if text == "." && crs != 1 || strings.HasPrefix(text, ".\r\r") {
				text = "." + text
			}
		case single || !strings.HasPrefix(text, ".."):
			if text != "." && text[1] != '.' && text[1] != '\r' {
				single = true
			}
			text = "." + text
		}
		b.WriteString(blank.Replace(text))
		if ended {
			b.WriteString("\r\n")
		}
		body, behindLF = behind, crs == 0
	}
	if end {
		b.WriteString(".\r\n")
	}
	return b.String(), rest, end
}

var blank = strings.NewReplacer("\r", " ", "\x00", " ")

// messageReaders are those who may stand behind us: each says where in s the first
// message ends for it, or -1.
var messageReaders = map[string]func(s string) int{
	"strict": func(s string) int { return behind("\r\n"+s, -2, "\r\n.\r\n") },
	"LF.LF":  func(s string) int { return behind("\n"+s, -1, "\n.\n", "\n.\r\n") },
	"mixed":  func(s string) int { return behind("\r\n"+s, -2, "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r\n.\r\n") },
	"any line end": func(s string) int {
		return behind("\n"+s, -1, "\r.\r\n", "\n.\r\n", "\n.\n", "\r.\n", "\r.\r", "\n.\r")
	},
	"NUL deleted":        func(s string) int { return without(s, func(string) bool { return true }, "\x00", "\r\n.\r\n") },
	"CR before LF lost":  func(s string) int { return without(s, crsThenLF, "\r", "\n.\n") },
	"all CR lost":        func(s string) int { return without(s, func(string) bool { return true }, "\r", "\n.\n") },
	"CR and NUL deleted": func(s string) int { return without(s, func(string) bool { return true }, "\r\x00", "\n.\n") },
}

// behind is where the earliest of the ends stops in s, plus shift. Of two
// that begin at the same octet the one named first counts.
func behind(s string, shift int, ends ...string) int {
	for i := range s {
		for _, end := range ends {
			if strings.HasPrefix(s[i:], end) {
				return i + len(end) + shift
			}
		}
	}
	return -1
}

// without looks for end in what is left of s when some octets are gone.
func without(s string, gone func(from string) bool, octets, end string) int {
	left, from := []byte(end[:strings.IndexByte(end, '.')]), []int{}
	start := len(left)
	for i := range len(s) {
		if strings.IndexByte(octets, s[i]) >= 0 && gone(s[i:]) {
			continue
		}
		left, from = append(left, s[i]), append(from, i)
	}
	i := bytes.Index(left, []byte(end))
	if i < 0 {
		return -1
	}
	return from[i+len(end)-1-start] + 1
}

func crsThenLF(s string) bool { return strings.HasPrefix(strings.TrimLeft(s, "\r"), "\n") }

// checkMessage holds in to all that is promised, cut as given.
func checkMessage(t testing.TB, in string, cuts ...int) {
	t.Helper()
	var m Message
	got, left, end := passMessage(t, &m, []byte(in), cuts...)
	out := string(got)
	wantOut, wantLeft, wantEnd := referenceMessage(in)
	if out != wantOut || string(left) != wantLeft || end != wantEnd {
		t.Fatalf("%q cut at %v:\n got %q, left %q, end %v\nwant %q, left %q, end %v", in, cuts, out, left, end, wantOut, wantLeft, wantEnd)
	}
	if sent := in[:len(in)-len(left)]; (m.Mended() == 0) != (out == sent) {
		t.Fatalf("%q became %q, %d mended", sent, out, m.Mended())
	}
	for name, reader := range messageReaders {
		want := -1
		if end {
			want = len(out)
		}
		if at := reader(out + "QUIT\r\n"); at != want {
			t.Fatalf("%q became %q: it ends at %d for the reader %q, at %d for us", in, out, at, name, want)
		}
	}
}

func TestReadersDoDisagree(t *testing.T) { // else they prove nothing
	for name, in := range map[string]string{
		"strict": "a\r\n.\r\n", "LF.LF": "a\n.\n", "mixed": "a\r\n.\n", "any line end": "a\r.\r",
		"NUL deleted": "a\r\n.\x00\r\n", "CR before LF lost": "a\r\r\n.\r\r\n",
		"all CR lost": "a\n\r.\n", "CR and NUL deleted": "a\n.\x00\r\n",
	} {
		if at := messageReaders[name](in + "QUIT\r\n"); at != len(in) {
			t.Errorf("%q should end %q at %d, not %d", name, in, len(in), at)
		}
		if at := messageReaders["strict"](in); name != "strict" && at != -1 {
			t.Errorf("%q ends at %d by the rules", in, at)
		}
	}
}

func TestOnlyCRLFDotCRLFEndsAMessage(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{".\r\n", ".\r\n"},
		{"a\r\n.\r\n", "a\r\n.\r\n"},
		{"..\r\n.\r\n", "..\r\n.\r\n"},
		{"a\r\n\r\n.\r\n", "a\r\n\r\n.\r\n"},
		// bare LF
		{"\n.\n", "\r\n..\r\n"},
		{"\n.\r\n", "\r\n..\r\n"},
		{"a\r\n.\n", "a\r\n..\r\n"},
		{".\n", "..\r\n"},
		{"a\n", "a\r\n"},
		{"a\n.b\n..c\n", "a\r\n..b\r\n...c\r\n"},             // a client that does not double dots there
		{"a\n..b\n...c\n..\n", "a\r\n..b\r\n...c\r\n..\r\n"}, // one that does
		{"a\n..b\n.c\n..d\n", "a\r\n..b\r\n..c\r\n...d\r\n"},
		{"a\n..b\n.\n..d\n", "a\r\n..b\r\n..\r\n..d\r\n"}, // a single dot shows nothing
		{"a\r\n.b\n..c\n", "a\r\n.b\r\n..c\r\n"},          // nor does one behind CRLF
		{"a\n.\n.\r\n", "a\r\n..\r\n..\r\n"},
		// bare CR
		{"a\r.\rb", "a . b"},
		{"a\r.\n", "a .\r\n"},
		{"a\r.\r\n", "a .\r\n"},
		{"a\n.\rb", "a\r\n.. b"},
		{"a\r\n.\rb", "a\r\n. b"},
		{"a\r\n.\r\r\n", "a\r\n..\r\n"},
		{"a\r\r\n.\r\r\n", "a\r\n..\r\n"},
		{"a\r\r\n.\n", "a\r\n..\r\n"},
		{"a\r\r\n.\r\n", "a\r\n.\r\n"},
		{"a\r\r\r\r\n\r\r\nb\r\r\n", "a\r\n\r\nb\r\n"},
		{"a\r\rb\r\r\n", "a  b\r\n"},
		{"a\r\n.\r\rb", "a\r\n..  b"},
		{"a\n.\r\r\n", "a\r\n..\r\n"},
		{"a\r\n..\r\r\n", "a\r\n..\r\n"},
		{"a\r\r\n..b\r\r\n", "a\r\n..b\r\n"},
		// NUL
		{"a\r\n\x00.\r\n", "a\r\n .\r\n"},
		{"a\r\n.\x00\r\n", "a\r\n. \r\n"},
		{"a\r\x00\n.\r\n", "a  \r\n..\r\n"},
		{"a\r\n.\r\x00\n", "a\r\n.  \r\n"},
		{"a\n\x00.\n", "a\r\n .\r\n"},
		{"\x00.\r\n", " .\r\n"},
		// a piece that begins with a dot is not a line that does
		{strings.Repeat("x", 2048) + "\n.\r\n", strings.Repeat("x", 2048) + "\r\n..\r\n"},
		{strings.Repeat("x", 4096) + ".\r\n", strings.Repeat("x", 4096) + ".\r\n"},
		{strings.Repeat("x", pieceSize) + ".\r\n", strings.Repeat("x", pieceSize) + ".\r\n"},
		// what other programs may strip is text
		{"a\r\n. \r\n", "a\r\n. \r\n"},
		{"a\r\n.\t\r\n .\r\n", "a\r\n.\t\r\n .\r\n"},
		{"a\v\r\n.\f\r\n.\x1c\r\n.\x1e\r\n", "a\v\r\n.\f\r\n.\x1c\r\n.\x1e\r\n"},
		{"a\xc2\x85.\xc2\x85\r\n\x85.\x85", "a\xc2\x85.\xc2\x85\r\n\x85.\x85"},
		{"a\u2028.\u2028\r\n\uff0e\r\n", "a\u2028.\u2028\r\n\uff0e\r\n"},
		{"a\r\n.text\r\n", "a\r\n.text\r\n"},
	} {
		var m Message
		out, _, end := passMessage(t, &m, []byte(c.in))
		want := strings.HasSuffix("\r\n"+c.out, "\r\n.\r\n")
		if string(out) != c.out || end != want {
			t.Errorf("%.40q became %.40q, end %v; want %.40q, %v", c.in, out, end, c.out, want)
		}
		checkMessage(t, c.in)
		for cut := range min(len(c.in), 40) {
			checkMessage(t, c.in, cut)
		}
		checkMessage(t, c.in+"b\r\n.\r\nQUIT\r\n")
	}
}

func TestWhatFollowsTheEndIsLeftAlone(t *testing.T) {
	rest := "MAIL FROM:<a@example.com>\r\nx\n.\n\r\x00"
	var m Message
	out, n, end := m.Next(nil, []byte("a\r\n.\r\n"+rest))
	if string(out) != "a\r\n.\r\n" || n != 6 || !end || m.Mended() != 0 {
		t.Fatalf("%q, %d, %v, %d mended", out, n, end, m.Mended())
	}
}

func TestMendedCountsStrayOctets(t *testing.T) {
	var m Message
	passMessage(t, &m, []byte("a\nb\rc\x00d\r\n.\n.\r\n"))
	if m.Mended() != 4 {
		t.Fatalf("%d mended; want 4: LF, CR, NUL, LF", m.Mended())
	}
}

func TestARunOfCRsIsBounded(t *testing.T) {
	for _, c := range []struct{ n, blanks int }{{maxCRs, 0}, {maxCRs + 1, maxCRs}, {2*maxCRs + 7, 2 * maxCRs}} {
		in := "a" + strings.Repeat("\r", c.n) + "\n.\r\n"
		for _, cuts := range [][]int{nil, {2}, {3, maxCRs}, {maxCRs + 1}, {maxCRs + 2}} {
			var m Message
			out, _, end := passMessage(t, &m, []byte(in), cuts...)
			if want := "a" + strings.Repeat(" ", c.blanks) + "\r\n.\r\n"; string(out) != want || !end {
				t.Errorf("%d CRs cut at %v: %d octets, not %d", c.n, cuts, len(out), len(want))
			}
		}
		var s Stuffer
		out := s.End(s.Append(nil, []byte(in[:2+c.n])))
		if want := "a" + strings.Repeat(" ", c.blanks) + "\r\n.\r\n"; string(out) != want {
			t.Errorf("%d CRs in a chunk: %d octets, not %d", c.n, len(out), len(want))
		}
	}
}

func TestLinesThatEndWithLFAloneMayEndAMessageAndKeepTheirDots(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"a\n.\n", "a\r\n.\r\n"},
		{"a\n.\r\n", "a\r\n.\r\n"},
		{"a\n.b\n..c\n.\n", "a\r\n..b\r\n...c\r\n.\r\n"},
		{"a\n..b\n..\n.\n", "a\r\n..b\r\n..\r\n.\r\n"},
		{"a\r\r\n.\r\r\n.\n", "a\r\n..\r\n.\r\n"},
		{"a\n.\r\r\n.\n", "a\r\n..\r\n.\r\n"},
	} {
		for cut := range len(c.in) {
			m := Message{LF: true}
			out, rest, end := passMessage(t, &m, []byte(c.in), cut)
			if string(out) != c.out || len(rest) > 0 || !end {
				t.Errorf("%q cut at %d: %q, left %q, end %v", c.in, cut, out, rest, end)
			}
		}
	}
}

// strays calls f with every string of up to n of the octets that matter.
func strays(n int, f func(string)) {
	b := make([]byte, 0, n)
	var grow func()
	grow = func() {
		f(string(b))
		if len(b) == n {
			return
		}
		for _, c := range "\r\n.\x00a" {
			b = append(b, byte(c))
			grow()
			b = b[:len(b)-1]
		}
	}
	grow()
}

func TestEveryShortMessageHoweverItIsSplit(t *testing.T) {
	n := 7
	if testing.Short() {
		n = 5
	}
	strays(n, func(in string) {
		checkMessage(t, in)
		want, rest, end := referenceMessage(in)
		same := func(cuts ...int) {
			var m Message
			got, left, e := passMessage(t, &m, []byte(in), cuts...)
			if string(got) != want || string(left) != rest || e != end {
				t.Fatalf("%q cut at %v: %q, left %q, end %v; whole: %q, %q, %v", in, cuts, got, left, e, want, rest, end)
			}
		}
		for cut := 1; cut < len(in); cut++ {
			same(cut)
		}
		same([]int{1, 2, 3, 4, 5, 6, 7}[:len(in)]...)
	})
}

func TestAPieceMayEndAnywhere(t *testing.T) {
	for fill := pieceSize - 6; fill <= pieceSize+1; fill++ {
		for _, filler := range []string{
			strings.Repeat("a", fill),
			strings.Repeat("b\r\n", fill/3) + strings.Repeat("a", fill%3),
		} {
			strays(3, func(in string) {
				in = filler + "\r\n" + in
				want, rest, end := referenceMessage(in)
				var m Message
				got, left, e := passMessage(t, &m, []byte(in))
				if string(got) != want || string(left) != rest || e != end {
					t.Fatalf("%d octets and %q: ...%q, left %q, end %v", fill, in[fill:], got[max(0, len(got)-20):], left, e)
				}
			})
		}
	}
}

// After a few lines of one length, a line end at that distance may be that of
// the second of two shorter ones.
func TestAWrongGuessMissesNothing(t *testing.T) {
	for length := range 9 {
		before := strings.Repeat(strings.Repeat("x", length)+"\r\n", 4)
		strays(5, func(in string) { checkMessage(t, before+in+"\r\n") })
	}
	r := rand.New(rand.NewPCG(1, 2))
	parts := []string{"\r\n", "\r\n.\r\n", "\n", "\r", ".", "\x00", "xx", "xxxx", "x\r\n", "xxxx\r\n", "xxxxxxx\r\n"}
	for range 20000 {
		in := strings.Repeat(strings.Repeat("x", r.IntN(16))+"\r\n", r.IntN(6))
		for range r.IntN(12) {
			in += parts[r.IntN(len(parts))]
		}
		checkMessage(t, in)
	}
}

func TestACleanMessageIsNotCopied(t *testing.T) {
	all := messageSamples()
	delete(all, "dirty")
	all["wrong guess"] = []byte(strings.Repeat("xxxxxx\r\n", 4) + "xx\r\nxx\r\n.\r\n")
	for name, src := range all {
		dst := make([]byte, 0)
		allocs := testing.AllocsPerRun(10, func() {
			var m Message
			out, n, end := m.Next(dst, src)
			if n != len(src) || !end || &out[0] != &src[0] || len(out) != n {
				t.Fatalf("%s: %d of %d octets, end %v", name, n, len(src), end)
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte("a\r\n.\r\nQUIT\r\n"), 3, 4)
	f.Add([]byte("xxxxxx\r\nxxxxxx\r\nxxxxxx\r\na\r\n.\r\n\r\n\n.\r\n"), 9, 30)
	f.Add([]byte("\r\n.\r\r\n\r\x00\n.\r\n.\n..\r\n"), 1, 5)
	f.Add([]byte("a\n..b\r\r\n.\r\r\r\n\n.c\n..d\r\n.\r\n"), 7, 11)
	f.Fuzz(func(t *testing.T, in []byte, first, second int) {
		if bytes.Contains(in, bytes.Repeat([]byte("\r"), maxCRs+1)) {
			return // see TestARunOfCRsIsBounded
		}
		checkMessage(t, string(in))
		first, second = min(max(first, 0), len(in)), min(max(second, 0), len(in))
		checkMessage(t, string(in), min(first, second), max(first, second))
	})
}

// messageSamples are messages of 128 KiB with their end.
func messageSamples() map[string][]byte {
	const size = 128 << 10
	fill := func(line func(i int) string) []byte {
		var b bytes.Buffer
		for i := 0; b.Len() < size-100; i++ {
			b.WriteString(line(i))
		}
		b.WriteString("\r\n.\r\n")
		return b.Bytes()
	}
	words := strings.Fields("the quick brown fox jumps over a lazy dog. We deliver, as ever, without change.")
	r := rand.New(rand.NewPCG(3, 4))
	prose := func(end string) func(int) string {
		return func(i int) string {
			var line []string
			for range r.IntN(14) {
				line = append(line, words[r.IntN(len(words))])
			}
			return strings.Join(line, " ") + end
		}
	}
	return map[string][]byte{
		"base64": fill(func(i int) string { return strings.Repeat(fmt.Sprintf("%03dQ", i%1000), 19) + "\r\n" }),
		"prose":  fill(prose("\r\n")),
		"empty":  fill(func(int) string { return "\r\n" }),
		"dotted": fill(func(i int) string { return strings.Repeat("..", 1+i%20) + "\r\n" }),
		"dirty":  fill(prose("\n")),
	}
}

func BenchmarkMessage(b *testing.B) {
	all := messageSamples()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		src := all[name]
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 0, 2*pieceSize)
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				var m Message
				for rest, end := src, false; !end; {
					var n int
					_, n, end = m.Next(dst, rest)
					rest = rest[n:]
				}
			}
		})
	}
}
