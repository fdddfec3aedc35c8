package transcript

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// example is in canonical form and has everything that a file can have.
const example = `Exchange 5.0 does not say ESMTP when it greets (KB Q164060), and a client
names itself with a dot at the end (KB Q240832).

The greeting is *attested* in KB Q164060 but for its names, the rest *assumed*.
-- rules --
standard
exchange-5.0
-join-data-reply
-- options --
advertise-esmtp.style = "word"
fix-hello-name.map = { "a\tb" = "a.example.com", "sub2" = "sub2.example.com" }
fix-hello-name.more = false
fix-hello-name.nets = ["192.0.2.0/24", "2001:db8::/32"]
fix-hello-name.nil = []
fix-hello-name.none = {}
v1.5.tries = -3
-- setting --
client = "192.0.2.7"
client_tls = "offer"
name = "relay.example.com"
-- dialogue --
S- 220 mail.example.com Microsoft Exchange Internet Mail Service 5.0.1460.8 ready
S+ 220 mail.example.com ESMTP Microsoft Exchange Internet Mail Service 5.0.1460.8 ready
C- EHLO sub2.
C+ EHLO sub2
S: 250-mail.example.com Hello [sub2]
S: 250 SIZE 0

~ client TLS
C: "NOOP \x00\n\r"
C:  NOOP
C: ""
C: "QUIT "
S- "\"221\" \u00e9\xff\x1b[2J"
~ message 1024 bytes
`

func parsed(t *testing.T, data string) *File {
	t.Helper()
	f, err := Parse("example", []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAFileSaysWhatItHolds(t *testing.T) {
	want := &File{
		About: example[:strings.Index(example, "\n-- rules")],
		Rules: []string{"standard", "exchange-5.0", "-join-data-reply"},
		Options: map[string]map[string]any{
			"advertise-esmtp": {"style": "word"},
			"fix-hello-name": {
				"map":  map[string]string{"a\tb": "a.example.com", "sub2": "sub2.example.com"},
				"more": false,
				"none": map[string]string{},
				"nets": []string{"192.0.2.0/24", "2001:db8::/32"},
				"nil":  []string{},
			},
			"v1.5": {"tries": int64(-3)},
		},
		Settings: map[string]string{"client": "192.0.2.7", "client_tls": "offer", "name": "relay.example.com"},
		Dialogue: []Line{
			{Server, Removed, "220 mail.example.com Microsoft Exchange Internet Mail Service 5.0.1460.8 ready", ""},
			{Server, Added, "220 mail.example.com ESMTP Microsoft Exchange Internet Mail Service 5.0.1460.8 ready", ""},
			{Client, Removed, "EHLO sub2.", ""},
			{Client, Added, "EHLO sub2", ""},
			{Server, Unchanged, "250-mail.example.com Hello [sub2]", ""},
			{Server, Unchanged, "250 SIZE 0", ""},
			{},
			{Text: "client TLS"},
			{Client, Unchanged, "NOOP \x00\n\r", ""},
			{Client, Unchanged, " NOOP", ""},
			{Client, Unchanged, "", ""},
			{Client, Unchanged, "QUIT ", ""},
			{Server, Removed, "\"221\" \u00e9\xff\x1b[2J", ""},
			{Text: "message 1024 bytes"},
		},
	}
	if got := parsed(t, example); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%#v\nwant\n%#v", got, want)
	}
}

func TestACanonicalFileIsFormattedAsItWas(t *testing.T) {
	for _, data := range []string{example, "-- dialogue --\n", "-- dialogue --\nC: QUIT\n", "Title\n-- dialogue --\n~ x\n"} {
		if got := string(parsed(t, data).Format()); got != data {
			t.Errorf("got\n%s\nwant\n%s", got, data)
		}
	}
}

func TestAFileBecomesCanonical(t *testing.T) {
	const loose = `

Title

-- setting --
  b = "\x32"
a = "1"

-- options --
r.t = {"y"="2" ,"x" = "1"}
q.o = true
-- dialogue --


S: "220 ready"


C: QUIT

-- rules --
one

 two`
	const tight = `Title
-- rules --
one
two
-- options --
q.o = true
r.t = { "x" = "1", "y" = "2" }
-- setting --
a = "1"
b = "2"
-- dialogue --
S: 220 ready

C: QUIT
`
	if got := string(parsed(t, loose).Format()); got != tight {
		t.Errorf("got\n%s\nwant\n%s", got, tight)
	}
}

func TestAMistakeIsReportedWithItsPlace(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{"", `x:1: no section "-- dialogue --"`},
		{"Title\n-- rules --\n", `x:2: no section "-- dialogue --"`},
		{"Title\n\n-- rulez --\n", `x:3: section "rulez"; there are rules, options, setting and dialogue`},
		{"-- rules --\n-- rules --\n", `x:2: section "rules" for the second time`},
		{"Title\r\n", `x:1: "Title\r" holds '\r'; a file is text with LF at the end of a line, all else is quoted`},
		{"\x1b[2J\n", `x:1: "\x1b[2J" holds '\x1b'; a file is text with LF at the end of a line, all else is quoted`},
		{"-- rules --\n\none two\n", `x:3: "one two" is no name of a rule; one goes on each line`},
		{"-- rules --\n-\n", `x:2: "-" is no name of a rule; one goes on each line`},
		{"-- options --\na = 1\n", `x:2: "a = 1"; an option is RULE.OPTION = VALUE`},
		{"-- options --\na.b\n", `x:2: "a.b"; an option is RULE.OPTION = VALUE`},
		{"-- options --\n.b = 1\n", `x:2: ".b = 1"; an option is RULE.OPTION = VALUE`},
		{"-- options --\na.b = 1\na.b = 1\n", `x:3: a.b for the second time`},
		{"-- options --\na.b = one\n", `x:2: a.b: "one" is no value; it can be "text", true, false, a whole number, ["text", ...], or { "key" = "text", ... }`},
		{"-- options --\na.b = \"one\n", `x:2: a.b: "one is not quoted as Go does`},
		{"-- options --\na.b = { \"a\" = \"b\"\n", `x:2: a.b: { "a" = "b" does not end with }`},
		{"-- options --\na.b = { a = \"b\" }\n", `x:2: a.b: "a = \"b\"" should be in quotation marks`},
		{"-- options --\na.b = { \"a\" \"b\" }\n", `x:2: a.b: no = behind "a"`},
		{"-- options --\na.b = { \"a\" = 'b' }\n", `x:2: a.b: "'b'" should be in quotation marks`},
		{"-- options --\na.b = { \"a\" = \"b\" \"c\" = \"d\" }\n", `x:2: a.b: "\"c\" = \"d\"" behind "b"; a comma goes between two pairs`},
		{"-- options --\na.b = { \"a\" = \"b\", \"a\" = \"d\" }\n", `x:2: a.b: "a" for the second time`},
		{"-- setting --\na\n", `x:2: "a"; a setting is KEY = "text"`},
		{"-- setting --\na = b\n", `x:2: a: "b" should be in quotation marks`},
		{"-- setting --\na = \"b\"\na = \"b\"\n", `x:3: a for the second time`},
		{"-- dialogue --\n\nC> QUIT\n", `x:3: "C> QUIT" begins with none of C: C- C+ S: S- S+ ~ and a blank`},
		{"-- dialogue --\nC:QUIT\n", `x:2: "C:QUIT" begins with none of C: C- C+ S: S- S+ ~ and a blank`},
		{"-- dialogue --\nC:\n", `x:2: no text behind "C:"; an empty line is written C: ""`},
		{"-- dialogue --\n~ \n", `x:2: no text behind "~"; an event has one`},
		{"-- dialogue --\n~ \"\"\n", `x:2: no text behind "~"; an event has one`},
		{"-- dialogue --\nC: QUIT \n", `x:2: a blank at the end, or more than printable ASCII; it is written "QUIT "`},
		{"-- dialogue --\nC: \u00e9\n", `x:2: a blank at the end, or more than printable ASCII; it is written "\u00e9"`},
		{"-- dialogue --\nC: \"a\" b\n", `x:2: "a" b is not quoted as Go does`},
		{"-- dialogue --\nC: \"a\\r\\nb\"\n", `x:2: "a\r\nb" holds a CRLF; a text is one line, and its end is not written`},
	} {
		_, err := Parse("x", []byte(c.data))
		if err == nil || err.Error() != c.want {
			t.Errorf("%q\n got %v\nwant %s", c.data, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("  -- rules --\n-- options --\na.b = {\"\" = \"\",}\n-- dialogue --\n\n~ \"\\x00\"\n\nS+ 250-\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := Parse("x", data)
		if err != nil {
			return
		}
		text := first.Format()
		second, err := Parse("x", text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("%#v\nbecame\n%#v", first, second)
		}
		if again := string(second.Format()); again != string(text) {
			t.Fatalf("%q\nbecame\n%q", text, again)
		}
	})
}

// shown has the rules behind the lines, in one column.
func shown(lines []Line) string {
	column := 0
	for _, l := range lines {
		if l.Rule != "" {
			column = max(column, len(l.String()))
		}
	}
	var b strings.Builder
	for _, l := range lines {
		text := l.String()
		if l.Rule != "" {
			text = fmt.Sprintf("%-*s  %s", column, text, l.Rule)
		}
		b.WriteString(text + "\n")
	}
	return b.String()
}

func TestDiffKeepsWhatBothHave(t *testing.T) {
	for _, c := range []struct{ said, delivered, want string }{
		{"", "", ""},
		{"220 a", "220 a", "S: 220 a\n"},
		{"220 a", "", "S- 220 a  r\n"},
		{"", "220 a", "S+ 220 a  r\n"},
		{"220 a", "220 a ESMTP", "S- 220 a        r\nS+ 220 a ESMTP  r\n"},
		{"250-a|250-SIZE 0|250 X", "250-a|250 SIZE 0", "S: 250-a\nS- 250-SIZE 0  r\nS- 250 X       r\nS+ 250 SIZE 0  r\n"},
		{"250-a|250-TURN|250-SIZE|250 AUTH=NTLM", "250-a|250-SIZE|250-AUTH=NTLM|250 XAUTH NTLM",
			"S: 250-a\nS- 250-TURN        r\nS: 250-SIZE\nS- 250 AUTH=NTLM   r\nS+ 250-AUTH=NTLM   r\nS+ 250 XAUTH NTLM  r\n"},
		{"250-a|250-b|250-c|250-d|250 e", "250-a|250-c|250-x|250-b|250-d|250 e",
			"S: 250-a\nS- 250-b  r\nS: 250-c\nS+ 250-x  r\nS+ 250-b  r\nS: 250-d\nS: 250 e\n"},
		{"354-a|354-b|354 c", "354 c", "S- 354-a  r\nS- 354-b  r\nS: 354 c\n"},
	} {
		said, delivered := fields(c.said), fields(c.delivered)
		if got := shown(Diff(Server, said, delivered, "r")); got != c.want {
			t.Errorf("%q, %q\n got %q\nwant %q", c.said, c.delivered, got, c.want)
		}
	}
}

func fields(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "|")
}

// Of every two short texts: neither side loses a line, and no more can be kept.
func TestDiffKeepsAsMuchAsCanBe(t *testing.T) {
	var texts []string
	for _, length := range []int{0, 1, 2, 3, 4} {
		for n := range 1 << (2 * length) { // of the letters a to d
			var b strings.Builder
			for i := range length {
				b.WriteByte("abcd"[n>>(2*i)&3])
			}
			texts = append(texts, b.String())
		}
	}
	for _, a := range texts {
		for _, b := range texts {
			var said, delivered, kept strings.Builder
			last := Unchanged
			for _, s := range align(strings.Split(a, ""), strings.Split(b, "")) {
				if s.mark != Added {
					said.WriteString(s.text)
				}
				if s.mark != Removed {
					delivered.WriteString(s.text)
				}
				if s.mark == Unchanged {
					kept.WriteString(s.text)
				}
				if last == Added && s.mark == Removed {
					t.Fatalf("%q, %q: removed behind added", a, b)
				}
				last = s.mark
			}
			if said.String() != a || delivered.String() != b || kept.Len() != longestCommon(a, b) {
				t.Fatalf("%q, %q: said %q, delivered %q, kept %q", a, b, said.String(), delivered.String(), kept.String())
			}
		}
	}
}

func longestCommon(a, b string) int {
	if a == "" || b == "" {
		return 0
	}
	if a[0] == b[0] {
		return 1 + longestCommon(a[1:], b[1:])
	}
	return max(longestCommon(a[1:], b), longestCommon(a, b[1:]))
}

func TestCompareShowsWhereDialoguesDiffer(t *testing.T) {
	want := parsed(t, "-- dialogue --\nS: 220 a\nC: EHLO b\n\nS: 250-a\nS: 250-X\nS- 250-TURN\nS: 250 SIZE\n\nC: QUIT\nS: 221 a\n~ over\n").Dialogue
	got := parsed(t, "-- dialogue --\nS: 220 a\nC: EHLO b\nS: 250-a\nS: 250-X\nS: 250-TURN\nS: 250 SIZE\nC: QUIT\nS: 221 a\n~ over\n").Dialogue
	const diff = `     ...
       2  C: EHLO b
       3  S: 250-a
       4  S: 250-X
want   5  S- 250-TURN
got       S: 250-TURN
       6  S: 250 SIZE
       7  C: QUIT
       8  S: 221 a
     ...
`
	if s := Compare(want, got); s != diff {
		t.Errorf("got\n%swant\n%s", s, diff)
	}
	if s := Compare(nil, got[:1]); s != "got       S: 220 a\n" {
		t.Errorf("got %q", s)
	}
	if s := Compare(got[:1], nil); s != "want   1  S: 220 a\n" {
		t.Errorf("got %q", s)
	}
}

func TestRulesAndEmptyLinesMakeNoDifference(t *testing.T) {
	a := []Line{{Server, Added, "220 a", "rule"}, {}, {Text: "client TLS"}}
	b := []Line{{Server, Added, "220 a", ""}, {Text: "client TLS"}, {}}
	if s := Compare(a, b); s != "" {
		t.Errorf("got %q", s)
	}
}
