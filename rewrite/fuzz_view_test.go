package rewrite_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"smtpshim/rewrite"
)

const smtpBlanks = " \t\v\f"

// words are the parts of a line between blanks.
func words(line string) []string {
	return strings.FieldsFunc(line, func(c rune) bool { return strings.ContainsRune(smtpBlanks, c) })
}

// FuzzPath: a path that is set as it was read gives the same line, but for the
// blanks between parameters.
func FuzzPath(f *testing.F) {
	for _, line := range []string{
		"MAIL FROM:<a@example.com> SIZE=10 BODY=8BITMIME", "RCPT TO:<\"a > b\"@example.com>\tNOTIFY=NEVER", "MAIL FROM:<>", "MAIL FROM: a@example.com  RET=HDRS ",
		"RCPT TO:<@a.example,@b.example:c@example.com>", "MAIL FROM:<\"\\\">\"@example.com>", "MAIL FROM:<a@example.com>SIZE=1", "MAIL <a:b@example.com> X",
		"MAIL FROM:<b\xc3\xbccher@example.com> X=\u00a0Y\u2028Z", "mail from:<a@example.com>\v\fX", "RCPT TO:", "RCPT TO:<", "MAIL FROM:<a> \x85 b",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		v := rewrite.ParseVerb([]byte(line))
		if strings.ContainsAny(line, "\r\n\x00") || v != rewrite.VerbMAIL && v != rewrite.VerbRCPT || strings.Contains(strings.ToUpper(line), "REQUIRETLS") || len(line) > 4094 {
			return
		}
		var path rewrite.Path
		parsed := false
		k := newTalk(t, onCommands(func(t *rewrite.Turn) {
			if path, parsed = t.Path(); parsed {
				t.SetPath(path)
			}
		}))
		k.d.Command([]byte(line+"\r\n"), false)
		got := joined(k.d.ToServer)
		if len(k.broke) > 0 || !slices.Equal(words(got), words(line)) {
			t.Fatalf("%q becomes %q; broke: %q", line, got, k.whys)
		}
		if !parsed {
			if got != line {
				t.Fatalf("%q cannot be taken apart and becomes %q", line, got)
			}
			return
		}
		if head := path.Prefix + path.Address; !strings.HasPrefix(line, head) || path.Address == "" {
			t.Fatalf("%q begins with %q and the address %q", line, path.Prefix, path.Address)
		}
		for _, p := range path.Params {
			if p == "" || strings.ContainsAny(p, smtpBlanks) || path.Keyword(p) != strings.ToUpper(strings.SplitN(p, "=", 2)[0]) {
				t.Fatalf("%q has the parameter %q", line, p)
			}
		}
	})
}

// isAbout reports whether a line is of a keyword.
func isAbout(line, keyword string) bool {
	word, _, _ := strings.Cut(strings.ReplaceAll(strings.ReplaceAll(line, "=", " "), "\t", " "), " ")
	return strings.EqualFold(word, keyword)
}

// FuzzExtensions: no method changes a line that it does not speak of, or their order.
func FuzzExtensions(f *testing.F) {
	f.Add("SIZE 10\nAUTH=LOGIN\nAUTH LOGIN\nDSN\nOK", "AUTH", "PLAIN", uint8(0))
	f.Add("STARTTLS\nTLS\ntls\nXTLS\nTLS-X\nTLS=1", "TLS", "STARTTLS", uint8(3))
	f.Add("CHUNK\u0131NG\n\u017fTARTTLS\nCHUN\u212aING", "CHUNKING", "X", uint8(2))
	f.Add("A\n\n \n=\n\t", "", "", uint8(4))
	f.Fuzz(func(t *testing.T, text, keyword, other string, method uint8) {
		if strings.ContainsAny(text+keyword+other, "\r\x00") || strings.ContainsAny(keyword+other, "\n =\t") || keyword == "" || other == "" || len(text) > 4000 {
			return
		}
		lines := strings.Split(text, "\n")
		var after []string
		k := newTalk(t, named("rule", rewrite.Actions{Offer: func(_ rewrite.Session, e rewrite.Extensions) {
			switch method % 7 {
			case 0:
				e.Add(other)
			case 1:
				e.Extend(keyword+" ", other)
			case 2:
				e.Drop(keyword)
			case 3:
				e.Rename(keyword, other)
			case 4:
				e.Set(keyword, other)
			case 5:
				e.Place(keyword, int(method))
			case 6:
				e.DropFunc(func(name, _ string) bool { return false })
			}
			after = e.Lines()
		}}))
		k.d.Command([]byte("EHLO client.example.net\r\n"), false)
		reply := rewrite.Reply{Code: 250, Lines: append([]string{"mail.example.com"}, lines...)}
		k.d.Reply(reply.AppendTo(nil), false, false)
		if len(k.broke) > 0 {
			t.Fatalf("it broke: %q", k.whys)
		}
		about := func(line string) bool { return isAbout(line, keyword) || method%7 == 0 && line == other }
		if method%7 == 3 {
			about = func(line string) bool { return isAbout(line, keyword) || line == other }
		}
		before, left := slices.DeleteFunc(slices.Clone(lines), about), slices.DeleteFunc(slices.Clone(after), about)
		if !slices.Equal(before, left) {
			t.Fatalf("method %d of %q and %q: %q becomes %q", method%7, keyword, other, lines, after)
		}
		if method%7 == 2 && slices.ContainsFunc(after, func(line string) bool { return isAbout(line, keyword) }) {
			t.Fatalf("%q is left in %q", keyword, after)
		}
	})
}

// FuzzText: whatever a filter makes of a message, no server sees two.
func FuzzText(f *testing.F) {
	f.Add([]byte("Subject: x\r\n\r\ntext\r\n"), []byte("a\r\n.\r\nRSET\r\n"), uint8(3))
	f.Add([]byte("a\r\n"), []byte(".\x00\r\n"), uint8(1))
	f.Add([]byte("one\r\ntwo\r\nthree\r\n"), []byte("x\r\n.\xff\r\nMAIL\r\n"), uint8(5))
	f.Add([]byte("one\r\ntwo\r\nthree\r\n"), []byte("x\xff\r\n\xff.\r\n"), uint8(4))
	f.Fuzz(func(t *testing.T, in, made []byte, size uint8) {
		in = bytes.ReplaceAll(in, []byte("."), []byte(",")) // it is one message, with its end behind it
		pieces := bytes.Split(made, []byte{0xff})           // what the filter makes of each piece, then nothing
		filter := rewrite.Filter{Text: func(_ *rewrite.Text, dst, src []byte) []byte {
			if len(pieces) == 0 {
				return src
			}
			dst = append(dst, pieces[0]...)
			pieces = pieces[1:]
			return dst
		}}
		k := newTalk(t, named("rule", rewrite.Actions{Message: func(*rewrite.Text) rewrite.Filter { return filter }}))
		k.transaction()
		m := k.d.Text()
		sent := append(bytes.Clone(in), "\r\n.\r\n"...)
		var cuts []int
		for i := 0; i < len(sent); i += 1 + int(size) {
			cuts = append(cuts, i)
		}
		out := byDATA(m, sent, cuts...)
		if m.Refusal() != "" {
			return
		}
		for name, reader := range serverReaders {
			seen := reader.sees(append([]byte("DATA\r\n"), out...))
			if len(seen) != 2 || !strings.HasPrefix(seen[1], "message ") {
				t.Fatalf("%q goes out, and %s sees %q", out, name, seen)
			}
		}
	})
}
