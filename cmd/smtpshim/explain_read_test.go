package main

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf16"

	"smtpshim/proxy/smtptest"
)

func TestLinesAreReadAsTheyWereSaid(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"folded":              {"Diagnostic-Code: smtp; 505\n  Must issue\n\tSTARTTLS\nStatus: 5\n", []string{"Diagnostic-Code: smtp; 505 Must issue STARTTLS", "Status: 5"}},
		"blank lines":         {"a\n\n \nb\n", []string{"a", "", "", "b"}},
		"without a last end":  {"a\r\nb", []string{"a", "b"}},
		"quoted":              {"> a\n>> b\n> > c\n>\n", []string{"a", "b", "c", ""}},
		"quoted and folded":   {"> a\n>   b\n", []string{"a b"}},
		"a dialogue of swaks": {"<-  220 x\n -> EHLO y\n<** 501 z\n", []string{"<-  220 x", "-> EHLO y", "<** 501 z"}},
		"quoted-printable":    {"Remote Server returned '550 5.6.11 SMTPSEND.Bare=4Cinefeeds; message=\n contains bare linefeeds'\n", []string{"Remote Server returned '550 5.6.11 SMTPSEND.BareLinefeeds; message contains bare linefeeds'"}},
		"equals in a log":     {"delay=0.4, dsn=\nnext\n", []string{"delay=0.4, dsn=", "next"}},
		"UTF-8 with a mark":   {"\ufeffé\n", []string{"é"}},
		"control characters":  {"a\x1b[2Jb\x00c\td\xff\u202ee\n", []string{"a?[2Jb?c d??e"}},
		"a long line":         {strings.Repeat("x", 3*maxLine) + "\ny\n", []string{strings.Repeat("x", maxLine), "y"}},
	} {
		if got := linesRead(t, c.text); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q is read as %q, want %q", name, c.text, got, c.want)
		}
	}
}

func TestTextsInUTF16AreRead(t *testing.T) {
	for name, order := range map[string]func(uint16) []byte{
		"little end first": func(u uint16) []byte { return []byte{byte(u), byte(u >> 8)} },
		"big end first":    func(u uint16) []byte { return []byte{byte(u >> 8), byte(u)} },
	} {
		var b bytes.Buffer
		for _, u := range utf16.Encode([]rune("\ufeff505 Must issue a STARTTLS command first\r\n")) {
			b.Write(order(u))
		}
		if got := linesRead(t, b.String()); !slices.Equal(got, []string{"505 Must issue a STARTTLS command first"}) {
			t.Errorf("%s: it is read as %q", name, got)
		}
	}
}

func TestWhatProgramsPutAroundAReplyDoesNotCount(t *testing.T) {
	for line, want := range map[string]string{
		`(503, b'5.5.1 EHLO first', 'a')`:                                 `(503 5.5.1 EHLO first', 'a')`,
		`refused=RCPT code=550 text="5.1.1 no" while=x`:                   `refused=RCPT 550 5.1.1 no" while=x`,
		`refused=RCPT code=550 text=no`:                                   `refused=RCPT 550 no`,
		`"refused":"RCPT","code":550,"text":"no"`:                         `"refused":"RCPT","550 no"`,
		`"505 Must \"issue\" a\r\nSTARTTLS"`:                              `"505 Must "issue" a  STARTTLS"`,
		`said: 550-5.7.1 not accepted due 550-5.7.1 to its 550 5.7.1 way`: `said: 550-5.7.1 not accepted due to its way`,
		`550-5.7.1 this 250 and 551 that`:                                 `550-5.7.1 this 250 and 551 that`,
		`501+5.5.4+Invalid+Address 0 0`:                                   `501 5.5.4 Invalid Address 0 0`,
		`&lt;a@example.com&gt;: 550 no`:                                   `<a@example.com>: 550 no`,
	} {
		if got := plain(line); got != want {
			t.Errorf("%q is compared as %q, want %q", line, got, want)
		}
	}
}

// A line that is broken where it is full is put together, and replies that follow each
// other are not.
func TestBrokenLinesArePutTogether(t *testing.T) {
	for text, want := range map[string]bool{
		"554 5.7.1 Relay access\ndenied\n":                                 true,
		"554 5.7.1 Relay\naccess\ndenied\n":                                true,
		"554 5.7.1 Relay access\n\ndenied\n":                               false,
		"554 5.7.1 Relay access\n250 denied\n":                             false,
		"554 5.7.1 Relay access\n< denied\n":                               false,
		"554 5.7.1 Relay access\nSubject: denied\n":                        false,
		"Relay access\n" + strings.Repeat("x", maxBroken+1) + "\ndenied\n": false,
	} {
		e, err := newExplainer().explain(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Found != nil && strings.Contains(e.Found[0].Means, "relays only for clients"); got != want {
			t.Errorf("%q: what it means is found: %t, want %t", text, got, want)
		}
	}
}

// hostile is a text without end, of which it keeps nothing, and looks at the memory that is
// in use while it is read.
type hostile struct {
	head, chunk string
	left        int // octets
	most, may   uint64
	counted     int
}

func (h *hostile) Read(p []byte) (int, error) {
	if h.head != "" {
		n := copy(p, h.head)
		h.head = h.head[n:]
		return n, nil
	}
	if h.left <= 0 {
		return 0, io.EOF
	}
	n := 0
	for n+len(h.chunk) <= len(p) && n < h.left {
		n += copy(p[n:], h.chunk)
	}
	if n == 0 {
		n = copy(p, h.chunk)
	}
	h.left -= n
	if h.counted += n; h.counted >= 1<<18 {
		h.counted = 0
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		h.most = max(h.most, m.HeapAlloc)
	}
	return n, nil
}

func TestMemoryIsBoundedWhateverIsRead(t *testing.T) {
	if smtptest.RaceDetected() {
		t.Skip("the race detector keeps a record of memory in memory")
	}
	const (
		little = 3 << 20  // a head, and the causes that are known
		some   = 12 << 20 // a report of 1 MiB besides, and what it takes to decode it
	)
	log := strings.Repeat("status=bounced (host mx.example.com[192.0.2.1] said: 571 zork (in reply to RCPT TO command))\n", 20)
	var different strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&different, "571 zork%d\n", i)
	}
	for name, h := range map[string]*hostile{
		"a log":                      {chunk: log, left: 3 << 19, may: little},
		"refusals that differ":       {chunk: different.String(), left: 3 << 19, may: little},
		"a line without an end":      {chunk: strings.Repeat("x", 4096), left: 16 << 20, may: little},
		"a line that is folded":      {chunk: strings.Repeat(" 571 zork\n", 400), left: 3 << 19, may: little},
		"a header without an end":    {head: "From: a@example.com\nSubject: x\n", chunk: strings.Repeat("X-A: b\n", 500), left: 2 << 20, may: some},
		"a report":                   {head: bounceHead + "\n", chunk: strings.Repeat("zork ", 800) + "\n", left: 18 << 20, may: some},
		"a report in HTML":           {head: bounceHead + "Content-Type: text/html\n\n", chunk: strings.Repeat("<p>zork", 500) + "\n", left: 18 << 20, may: some},
		"comments without an end":    {head: bounceHead + "Content-Type: text/html\n\n", chunk: strings.Repeat("<!-- zork>\n", 400), left: 18 << 20, may: some},
		"parts without an end":       {head: bounceHead + "Content-Type: multipart/mixed; boundary=x\n\n", chunk: strings.Repeat("--x\n\nzork\n", 400), left: 18 << 20, may: some},
		"messages in messages":       {head: bounceHead + "Content-Type: multipart/mixed; boundary=x\n\n", chunk: strings.Repeat("--x\nContent-Type: message/rfc822\n\nFrom: a\n\nzork\n", 80), left: 18 << 20, may: some},
		"a message of one long line": {head: bounceHead + "Content-Transfer-Encoding: base64\n\n", chunk: strings.Repeat("QUFB", 1024), left: 18 << 20, may: some},
	} {
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := newExplainer().explain(h); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if h.most == 0 {
			t.Errorf("%s: memory was never looked at", name)
		}
		if h.most > before.HeapAlloc+h.may {
			t.Errorf("%s: %d octets are in use, %d before", name, h.most, before.HeapAlloc)
		}
	}
}

func TestAnErrorOfReadingIsTold(t *testing.T) {
	for _, text := range []string{"", "505 Must issue a STARTTLS command first\n", strings.Repeat("x y z 550 no\n", maxHead/100)} {
		r := io.MultiReader(strings.NewReader(text), brokenReader{})
		if _, err := newExplainer().explain(r); err == nil {
			t.Errorf("after %d octets nothing is said of it", len(text))
		}
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

// What is read is hostile: nothing of it panics, and what is printed of it is text.
func FuzzExplainText(f *testing.F) {
	f.Add([]byte(aReport("Content-Type: text/plain\n\n505 5.7.0 Must issue a STARTTLS command first\n")))
	f.Add([]byte(bounceHead + "Content-Type: text/html\n\n<!-- --><style>x</style>&#27;[2J550 no"))
	f.Add([]byte(bounceHead + "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\n--\n"))
	f.Add([]byte("\xff\xfe5\x005\x000\x00 \x00"))
	f.Add([]byte("> 550-5.7.1 a 550-5.7.1 b=\n (503, b'x')\n \xff\x1b[2J\n"))
	f.Add([]byte("From x\nFrom: y\nSubject: z\nContent-Transfer-Encoding: quoted-printable\n\n=5=35=\n"))
	explains := newExplainer()
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := explains.explain(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		printExplained(&b, e)
		printUnknown(&b, e)
		for _, r := range b.String() {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Fatalf("%q is printed of %q", r, text)
			}
		}
	})
}
