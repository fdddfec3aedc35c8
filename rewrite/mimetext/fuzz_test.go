package mimetext

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
)

// A maker makes a message of what the fuzzer says.
type maker struct{ data []byte }

func (m *maker) pick(n int) int {
	if len(m.data) == 0 {
		return 0
	}
	c := m.data[0]
	m.data = m.data[1:]
	return int(c) % n
}

// words are what lines are made of: with them lines become long, look like delimiters and
// begin with dots.
var words = []string{"", ".", "..", "-", "--b0", "--b1x", "--b2--", " ", "\t", "=", "=20", "word", "From ", "\u00fc", "\xff", "\x80\x80", strings.Repeat("x", 75),
	strings.Repeat("\u00e4", 40), strings.Repeat("y", 999), strings.Repeat("=", 77)}

func (m *maker) text(b *strings.Builder) {
	for range m.pick(6) {
		line := ""
		for range m.pick(5) {
			line += words[m.pick(len(words))]
		}
		if strings.HasPrefix(line, "--b") { // would be a delimiter
			line = " " + line
		}
		b.WriteString(line + "\r\n")
	}
}

// entity makes a header and a body.
func (m *maker) entity(b *strings.Builder, depth int) {
	encoding := []string{"", "7bit", "8bit", "8Bit", "quoted-printable", "base64", "binary"}[m.pick(7)]
	if m.pick(4) == 0 {
		b.WriteString("X-Other: a\r\n b\r\n")
	}
	kind := m.pick(6)
	if depth > 4 {
		kind = 0
	}
	if kind >= 3 && (encoding == "base64" || encoding == "quoted-printable") {
		encoding = ""
	}
	if encoding != "" {
		b.WriteString("Content-Transfer-Encoding: " + encoding + "\r\n")
	}
	switch kind {
	case 0, 1, 2:
		b.WriteString([]string{"", "Content-Type: text/html; charset=us-ascii\r\n", "Content-Type: application/x-y\r\n"}[kind])
		b.WriteString("\r\n")
		switch encoding {
		case "quoted-printable", "base64":
			var plain strings.Builder
			m.text(&plain)
			if encoding == "base64" {
				b.WriteString(base64.StdEncoding.EncodeToString([]byte(plain.String())) + "\r\n")
				return
			}
			w := quotedprintable.NewWriter(b)
			io.WriteString(w, plain.String())
			w.Close()
			b.WriteString("\r\n")
		default:
			m.text(b)
			b.WriteString("\r\n")
		}
	case 3:
		b.WriteString("Content-Type: message/rfc822\r\n\r\n")
		m.entity(b, depth+1)
	default:
		media := []string{"mixed", "signed", "digest"}[m.pick(3)]
		fmt.Fprintf(b, "Content-Type: multipart/%s;\r\n boundary=b%d\r\n\r\n", media, depth)
		for range 1 + m.pick(3) {
			fmt.Fprintf(b, "--b%d\r\n", depth)
			m.entity(b, depth+1)
		}
		fmt.Fprintf(b, "--b%d--\r\n", depth)
	}
}

// plan is what the fuzzer wants done.
func (m *maker) plan() Plan {
	return Plan{Encode: Texts(m.pick(3)), Label: m.pick(2) == 0, Charset: []string{"", "utf-8"}[m.pick(2)], Dots: m.pick(2) == 0,
		Break: []int{0, 78, 254, 998}[m.pick(4)], BreakSignatures: m.pick(2) == 0}
}

// contents reads a message by the standard library: the contents of its leaves behind each
// other, decoded.
func contents(t *testing.T, header map[string][]string, body io.Reader, digest bool) (string, error) {
	get := func(name string) string { return mail.Header(header).Get(name) }
	media, params, err := mime.ParseMediaType(get("Content-Type"))
	switch {
	case err != nil && digest && get("Content-Type") == "":
		media = "message/rfc822"
	case err != nil:
		media = "text/plain"
	}
	switch {
	case strings.HasPrefix(media, "multipart/"):
		out := "("
		for r := multipart.NewReader(body, params["boundary"]); ; {
			p, err := r.NextRawPart()
			if err == io.EOF {
				return out + ")", nil
			}
			if err != nil {
				return out, err
			}
			inner, err := contents(t, p.Header, p, media == "multipart/digest")
			if out += inner + "|"; err != nil {
				return out, err
			}
		}
	case media == "message/rfc822":
		m, err := mail.ReadMessage(body)
		if err != nil {
			return "", err
		}
		return contents(t, m.Header, m.Body, false)
	}
	switch strings.ToLower(get("Content-Transfer-Encoding")) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	all, err := io.ReadAll(body)
	// The reader of quoted-printable ends lines as they came.
	return string(all), err
}

func contentsOf(t *testing.T, text string) (string, error) {
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		return "", err
	}
	return contents(t, m.Header, m.Body, false)
}

// FuzzContents: whatever a plan does to a message, its parts hold what they held.
func FuzzContents(f *testing.F) {
	random := rand.NewChaCha8([32]byte{17})
	for range 500 {
		seed := make([]byte, 200)
		random.Read(seed)
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &maker{data}
		plan := m.plan()
		var b strings.Builder
		b.WriteString("Subject: x\r\n")
		m.entity(&b, 0)
		text := b.String()
		before, err := contentsOf(t, text)
		if err != nil {
			return
		}
		w := New(plan)
		in := lines(strings.Split(strings.TrimSuffix(text, "\r\n"), "\r\n")...)
		out := made(w, in, 0)
		checkText(t, w, plan, in, out)
		if w.Unclear() {
			return
		}
		after, err := contentsOf(t, unstuffed(out))
		if err != nil || after != before {
			t.Fatalf("%+v:\n%q\nbecomes\n%q,\nand\n%q\n%q: %v", plan, in, out, before, after, err)
		}
	})
}

// FuzzText: whatever comes, what goes out is text, and the same however it is split.
func FuzzText(f *testing.F) {
	f.Add([]byte("\x01\x01\x01\x01\x01\x01Content-Transfer-Encoding: 8bit\n\n\xff..\n.\n"), 3)
	f.Add([]byte("\x02\x01\x00\x01\x01\x00Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b--\n--b\n--bx"), 1)
	f.Add([]byte("\x01\x00\x01\x00\x03\x01Content-Type: message/rfc822\n\nA: b\n\nx"), 2)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		m := &maker{data}
		plan := m.plan()
		text := strings.NewReplacer("\r", "", "\x00", "").Replace(string(m.data))
		in := lines(strings.Split(strings.TrimSuffix(text, "\n"), "\n")...)
		w := New(plan)
		out := made(w, in, 0)
		checkText(t, w, plan, in, out)
		again := New(plan)
		if got := made(again, in, 1+max(n, -n)%100); got != out || resultOf(again) != resultOf(w) {
			t.Fatalf("%q becomes\n%q in lines and\n%q in pieces", in, out, got)
		}
	})
}

// checkText says what holds for each message.
func checkText(t *testing.T, w *Writer, plan Plan, in, out string) {
	t.Helper()
	if !w.Changed() && in != out {
		t.Fatalf("%q becomes\n%q, and nothing was changed", in, out)
	}
	if strings.Count(out, "\r\n") != strings.Count(out, "\n") || strings.Count(out, "\r") != strings.Count(out, "\n") || !strings.HasSuffix(out, "\r\n") {
		t.Fatalf("%+v: %q becomes\n%q, which has bare CRs or LFs", plan, in, out)
	}
	if "\r\n"+out != "\r\n" && strings.Contains("\r\n"+out, "\r\n.\r\n") {
		t.Fatalf("%+v: %q becomes\n%q, which ends the message", plan, in, out)
	}
	_, body, _ := strings.Cut("\r\n"+out, "\r\n\r\n")
	if !isASCII([]byte(body)) && !w.EightBit() {
		t.Fatalf("%+v: %q becomes\n%q, and 8-bit octets were not seen", plan, in, out)
	}
	if strings.Contains("\r\n"+body, "\r\n.") && !w.LeadingDots() {
		t.Fatalf("%+v: %q becomes\n%q, and dots were not seen", plan, in, out)
	}
}

func unstuffed(out string) string {
	var b bytes.Buffer
	for line := range strings.Lines(out) {
		b.WriteString(strings.TrimPrefix(line, "."))
	}
	return b.String()
}
