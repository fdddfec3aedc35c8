package rewrite_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
)

// A reading is how a message gets to its Text: by DATA, or by chunks.
type reading func(m *rewrite.Text, in []byte, cuts ...int) []byte

// byDATA reads a message up to each of the cuts, as a connection would.
func byDATA(m *rewrite.Text, in []byte, cuts ...int) (out []byte) {
	done, end := 0, false
	for _, cut := range append(cuts, len(in)) {
		for !end {
			piece, n, e := m.Next(nil, in[done:cut])
			out, done, end = append(out, piece...), done+n, e
			if n == 0 {
				break
			}
		}
	}
	return out
}

// byBDAT reads the same octets, without the end that DATA has, in chunks.
func byBDAT(m *rewrite.Text, in []byte, cuts ...int) (out []byte) {
	in = bytes.TrimSuffix(in, []byte(".\r\n"))
	done := 0
	for _, cut := range append(cuts, len(in)) {
		if cut = min(cut, len(in)); cut > done {
			out = append(out, m.Stuff(in[done:cut])...)
			done = cut
		}
	}
	return append(out, m.StuffEnd()...)
}

var readings = map[string]reading{"DATA": byDATA, "BDAT": byBDAT}

// filtered gives a message to filters of the names f0, f1, ...
func filtered(t *testing.T, read reading, in string, cuts []int, filters ...rewrite.Filter) (*talk, *rewrite.Text, string) {
	t.Helper()
	var rules []rewrite.Rule
	for i, f := range filters {
		rules = append(rules, named("f"+string(rune('0'+i)), rewrite.Actions{Message: func(*rewrite.Text) rewrite.Filter { return f }}))
	}
	k := newTalk(t, rules...)
	k.transaction()
	m := k.d.Text()
	return k, m, string(read(m, []byte(in), cuts...))
}

// parts is a filter that keeps what it sees of header and body, apart.
func parts(header, body *[]byte) rewrite.Filter {
	return rewrite.Filter{Text: func(m *rewrite.Text, dst, src []byte) []byte {
		if m.Body() {
			*body = append(*body, src...)
		} else {
			*header = append(*header, src...)
		}
		return src
	}}
}

// letters is a filter that drops every piece of the client's that has no line
// end, so that what goes out is elsewhere in a line than what came in.
func letters() rewrite.Filter {
	return rewrite.Filter{Text: func(_ *rewrite.Text, dst, src []byte) []byte {
		return append(dst, strings.ReplaceAll(string(src), "A", "")...)
	}}
}

func TestHeaderAndBodyPartAtTheFirstEmptyLineHoweverTheyAreSplit(t *testing.T) {
	for _, c := range []struct{ header, body string }{
		{"A: b\r\nC: d\r\n\r\n", "e\r\n\r\nf\r\n"},
		{"A\r\n\r\n", "\r\n\r\n"},
		{"AA\r\n\r\n", ""},
		{"\r\n", "A\r\n\r\nb\r\n"},
		{"\r\n", ""},
		{"A: b\r\n", ""},
		{"", ""},
		{"A: b\r\n c\r\n\r\n", "AAA\r\n"},
	} {
		in := c.header + c.body + ".\r\n"
		for name, read := range readings {
			check := func(cuts ...int) {
				var header, body []byte
				_, m, _ := filtered(t, read, in, cuts, letters(), parts(&header, &body))
				if got, want := string(header), strings.ReplaceAll(c.header, "A", ""); got != want {
					t.Errorf("%s, %q cut at %v: the header is %q, not %q", name, in, cuts, got, want)
				}
				if got, want := string(body), strings.ReplaceAll(c.body, "A", ""); got != want {
					t.Errorf("%s, %q cut at %v: the body is %q, not %q", name, in, cuts, got, want)
				}
				if m.Refusal() != "" {
					t.Errorf("%s, %q is refused: %s", name, in, m.Refusal())
				}
			}
			check()
			var each []int
			for i := range len(in) {
				check(i)
				each = append(each, i)
				for j := range i {
					check(j, i)
				}
			}
			check(each...)
		}
	}
}

// double is a filter that makes two octets of each letter.
func double() rewrite.Filter {
	return rewrite.Filter{Text: func(m *rewrite.Text, dst, src []byte) []byte {
		for _, c := range src {
			if dst = append(dst, c); c > '.' {
				dst = append(dst, c)
			}
		}
		m.Applied()
		return dst
	}}
}

func TestFiltersOfAMessageWorkOneBehindTheOther(t *testing.T) {
	long := strings.Repeat("abc\r\n", 20000)
	in := "h\r\n\r\n" + long + ".\r\n"
	want := "hhhh\r\n\r\n" + strings.Repeat("aaaabbbbcccc\r\n", 20000) + ".\r\n"
	for name, read := range readings {
		for _, cuts := range [][]int{nil, {1}, {2, 4, 5, 6, 7, 1000, 40000}} {
			k, m, out := filtered(t, read, in, cuts, double(), double())
			if out != want || m.Refusal() != "" {
				t.Errorf("%s cut at %v: %d octets go out, not %d; refusal %q", name, cuts, len(out), len(want), m.Refusal())
			}
			if m.Octets() == 0 {
				t.Errorf("%s: no octets were counted", name)
			}
			k.d.MessageEnd(int64(len(in)))
			k.acted("f0 f1", "")
		}
	}
}

// replaces makes text of text, wherever it is within one piece.
func replaces(old, new string) rewrite.Filter {
	return rewrite.Filter{Text: func(_ *rewrite.Text, dst, src []byte) []byte {
		return append(dst, strings.ReplaceAll(string(src), old, new)...)
	}}
}

func TestAFilterThatMakesWhatIsNoTextHasItsMessageRefused(t *testing.T) {
	for name, f := range map[string]rewrite.Filter{
		"a bare LF":               replaces("x", "\n"),
		"a bare CR":               replaces("x", "\r"),
		"LF CR":                   replaces("x", "\n\r"),
		"a NUL":                   replaces("x", "\x00"),
		"a CRLF taken apart":      replaces("x\r\n", "x\r"),
		"a dot":                   replaces("x", "."),
		"a dot and its line ends": replaces("x\r\n", "y\r\n.\r\n"),
		"a last line without end": replaces("x\r\n", "y"),
		"half a dot line":         replaces("x\r\n", "y\r\n."),
		"a dot before its dot":    replaces("x\r\n", "."),
		"nothing but line ends":   replaces("x", "\r"),
	} {
		for way, read := range readings {
			for _, in := range []string{"x\r\n", "h: y\r\nx\r\n", "h: y\r\n\r\nx\r\n", "\r\nx\r\n"} {
				k, m, _ := filtered(t, read, in+".\r\n", nil, f)
				if !strings.HasPrefix(m.Refusal(), "451 ") {
					t.Errorf("%s by %s: %q is refused with %q", name, way, in, m.Refusal())
				}
				k.acted("", "f0")
			}
		}
	}
}

// What is harmless in each of two pieces may end the message together.
func TestAFilterCannotMakeTheLastLineInPieces(t *testing.T) {
	for name, made := range map[string][]string{
		"a dot, and a line end":            {"a\r\n.", "\r\nMAIL FROM:<smuggled@example.com>\r\n"},
		"a line end, and a dot line":       {"a\r\n", ".\r\nb\r\n"},
		"a line end, a dot and a line end": {"a\r\n", ".", "\r\n"},
		"a dot first of all":               {".", "\r\n"},
		"nothing between":                  {"a\r\n.", "", "\r\nb\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			pieces := slices.Clone(made)
			f := rewrite.Filter{Text: func(_ *rewrite.Text, dst, _ []byte) []byte {
				if len(pieces) == 0 {
					return dst
				}
				dst = append(dst, pieces[0]...)
				pieces = pieces[1:]
				return dst
			}}
			k := newTalk(t, named("bad", rewrite.Actions{Message: func(*rewrite.Text) rewrite.Filter { return f }}))
			k.transaction()
			for range made {
				k.d.Text().Next(nil, []byte("piece\r\n"))
			}
			if !strings.HasPrefix(k.d.Text().Refusal(), "451 ") {
				t.Errorf("the message is refused with %q", k.d.Text().Refusal())
			}
			k.acted("", "bad")
		})
	}
}

// The client's text is all right, and not behind what a filter has left before it.
func TestTextThatPassesMayNotEndAMessageEither(t *testing.T) {
	for name, c := range map[string]struct{ first, made, then string }{
		"behind a dot":               {"a\r\n", "a\r\n.", "\r\nb\r\n"},
		"behind a line that is gone": {"abc", "", ".\r\nb\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := rewrite.Filter{Text: func(_ *rewrite.Text, dst, src []byte) []byte {
				if string(src) == c.first {
					return append(dst, c.made...)
				}
				return src
			}}
			k := newTalk(t, named("bad", rewrite.Actions{Message: func(*rewrite.Text) rewrite.Filter { return f }}))
			k.transaction()
			k.d.Text().Next(nil, []byte(c.first))
			k.d.Text().Next(nil, []byte(c.then))
			if !strings.HasPrefix(k.d.Text().Refusal(), "451 ") {
				t.Errorf("the message is refused with %q", k.d.Text().Refusal())
			}
			k.acted("", "bad")
		})
	}
}

func TestARefusalIsOfTheWholeMessage(t *testing.T) {
	refuse := rewrite.Reply{Code: 554, Lines: []string{"5.6.0 no"}}
	for name, when := range map[string]func(m *rewrite.Text, src string) bool{
		"header": func(m *rewrite.Text, src string) bool { return !m.Body() },
		"body":   func(m *rewrite.Text, src string) bool { return m.Body() },
		"end":    func(m *rewrite.Text, src string) bool { return strings.HasSuffix(src, "z\r\n") },
	} {
		for way, read := range readings {
			text := rewrite.Filter{Text: func(m *rewrite.Text, _, src []byte) []byte {
				if when(m, string(src)) {
					m.Refuse(refuse)
					m.Refuse(rewrite.Reply{Code: 451, Lines: []string{"a second one"}})
				}
				return src
			}}
			k, m, _ := filtered(t, read, "h: y\r\n\r\nb\r\nz\r\n.\r\n", []int{3, 8, 10}, text)
			if m.Refusal() != "554 5.6.0 no" {
				t.Errorf("%s by %s: refused with %q", name, way, m.Refusal())
			}
			k.d.RefuseMessage(m.Refusal())
			k.d.MessageEnd(20)
			k.expect("the end", "", "554 5.6.0 no")
			k.acted("f0", "")
			k.client("NOOP", "", "250 2.0.0 ok")
		}
	}
}

func TestAMessageIsNotRefusedWithAYes(t *testing.T) {
	for _, r := range []rewrite.Reply{{Code: 250, Lines: []string{"ok"}}, {Code: 354, Lines: []string{"go on"}}, {Code: 554}, {Code: 554, Lines: []string{"a\r\nb"}}, {Code: 554, Lines: []string{"a", "b"}}, {Code: 600, Lines: []string{"no"}}} {
		k, m, _ := filtered(t, byDATA, "a\r\n.\r\n", nil, rewrite.Filter{Look: func(m *rewrite.Text) { m.Refuse(r) }})
		if m.Refusal() != "" {
			t.Errorf("%v: refused with %q", r, m.Refusal())
		}
		if len(k.whys) != 1 || strings.HasSuffix(k.whys[0], ": ") {
			t.Errorf("%v: the reason is %q", r, k.whys)
		}
		k.acted("", "f0")
	}
}

// A filter may return a part of what it gets, or what is its own for good.
func TestWhatAFilterReturnsIsNotWrittenTo(t *testing.T) {
	own := []byte("own\r\n")
	first := true
	part := rewrite.Filter{Text: func(_ *rewrite.Text, dst, src []byte) []byte {
		if bytes.HasPrefix(src, []byte("A")) {
			return src[1:]
		}
		return src
	}}
	mine := rewrite.Filter{Text: func(_ *rewrite.Text, dst, src []byte) []byte {
		if first {
			first = false
			return own
		}
		return append(dst, bytes.ToLower(src)...)
	}}
	buffer := []byte("Aone\r\nAtwo\r\nAthree\r\n")
	k := newTalk(t, named("part", rewrite.Actions{Message: func(*rewrite.Text) rewrite.Filter { return part }}),
		named("mine", rewrite.Actions{Message: func(*rewrite.Text) rewrite.Filter { return mine }}))
	k.transaction()
	var out []byte
	for _, piece := range [][]byte{buffer[:6], buffer[6:12], buffer[12:]} {
		made, _, _ := k.d.Text().Next(nil, piece)
		out = append(out, made...)
	}
	if string(out) != "own\r\ntwo\r\nthree\r\n" || string(own) != "own\r\n" || string(buffer) != "Aone\r\nAtwo\r\nAthree\r\n" {
		t.Errorf("%q goes out, the filter's own is %q, the client's %q", out, own, buffer)
	}
}

// What is behind the text is the end of the message, and the client's next command.
func TestAFilterThatAppendsToTheTextLeavesWhatIsBehindIt(t *testing.T) {
	k := newTalk(t, named("footer", rewrite.Actions{Message: func(*rewrite.Text) rewrite.Filter {
		return rewrite.Filter{Text: func(_ *rewrite.Text, _, src []byte) []byte { return append(src, "footer\r\n"...) }}
	}}))
	k.transaction()
	in := []byte("text\r\n.\r\nQUIT\r\n")
	out, n, end := k.d.Text().Next(nil, in)
	if !end || string(out) != "text\r\nfooter\r\n.\r\n" || string(in[n:]) != "QUIT\r\n" {
		t.Errorf("%q goes out, %q is left; broke %q", out, in[n:], k.whys)
	}
}

// It may be what a rule has for every session.
func TestTheEndOfAMessageIsNotWrittenToWhatAFilterReturns(t *testing.T) {
	own := []byte("all of it\r\nand more\r\n")
	k := newTalk(t, named("fixed", rewrite.Actions{Message: func(*rewrite.Text) rewrite.Filter {
		return rewrite.Filter{Text: func(*rewrite.Text, []byte, []byte) []byte { return own[:11] }}
	}}))
	k.transaction()
	out, _, _ := k.d.Text().Next(nil, []byte("text\r\n.\r\n"))
	if string(out) != "all of it\r\n.\r\n" || string(own) != "all of it\r\nand more\r\n" {
		t.Errorf("%q goes out, and the rule has %q", out, own)
	}
}

// A text that a filter has changed in its place is judged like any other.
func TestAFilterThatWritesToTheTextIsJudged(t *testing.T) {
	k := newTalk(t, named("bad", rewrite.Actions{Message: func(*rewrite.Text) rewrite.Filter {
		return rewrite.Filter{Text: func(_ *rewrite.Text, _, src []byte) []byte { src[0] = '\n'; return src }}
	}}))
	k.transaction()
	k.d.Text().Next(nil, []byte("text\r\n.\r\n"))
	if k.d.Text().Refusal() == "" {
		t.Error("a bare LF goes out")
	}
}
