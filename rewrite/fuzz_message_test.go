package rewrite_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// messageSeeds are texts with what the rules for messages look for.
var messageSeeds = []string{
	"Subject: x\r\n\r\ntext\r\n", "", "\r\n", "a\nb\r\nc\rd\r\n", "a\r\r\n\x00\r\n", "x\n.\ny\r\n", "..\r\n.a\r\n\n..\n",
	"From: a\r\n <a@example.com>\r\nSender: b@example.com\r\nDate: x\r\n\r\ncaf\xc3\xa9 \xe9\r\n", "Subject: " + strings.Repeat("word ", 300) + "\r\n\r\n" + strings.Repeat("x", 2500) + "\r\n",
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n.=\r\n..\r\n--b--\r\n",
	"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xc3\xa9\r\n" + strings.Repeat(".\xc3\xa9", 700) + "\r\n",
}

// FuzzMessageUnderRules has a client send one message, in pieces, under rules that it
// picks. Whatever the text is and they make of it, every server sees one message, with
// lines that end with CRLF; or the message is refused, and no server sees its end.
func FuzzMessageUnderRules(f *testing.F) {
	for _, seed := range messageSeeds {
		for size := range uint8(3) {
			f.Add([]byte(seed), size*7, []byte{0})
			f.Add([]byte(seed), size*7, []byte{4})
		}
		for i := range heal.Table() {
			f.Add([]byte(seed), uint8(5), []byte{2, byte(i)})
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, size uint8, choice []byte) {
		if len(text) > 1<<14 {
			return
		}
		names, options := chooseRules(pickFrom(choice))
		d := messageUnder(t, compileChosen(t, append(names, "stray-bytes"), options))
		if d == nil {
			return // the rules have it said otherwise
		}
		defer d.Close()
		in := append(stuffedText(text), "\r\n.\r\n"...)
		var cuts []int
		for i := 0; i < len(in); i += 1 + int(size) {
			cuts = append(cuts, i)
		}
		out := byDATA(d.Text(), in, cuts...)
		if d.Text().Refusal() != "" {
			if bytes.HasSuffix(append([]byte("\r\n"), out...), []byte("\r\n.\r\n")) {
				t.Fatalf("%q is refused, and the server gets its end: %q", in, out)
			}
			return
		}
		for line := range bytes.Lines(out) {
			if body, ok := bytes.CutSuffix(line, []byte("\r\n")); !ok || bytes.ContainsAny(body, "\r\x00") {
				t.Fatalf("%q becomes %q: %q is no line", in, out, line)
			}
		}
		for name, reader := range serverReaders {
			if seen := reader.sees(append([]byte("DATA\r\n"), out...)); len(seen) != 2 || !strings.HasPrefix(seen[1], "message ") {
				t.Fatalf("%q becomes %q, and %s sees %q", in, out, name, seen)
			}
		}
	})
}

// stuffedText is a text as a client sends it by DATA: dots are doubled that begin a line.
// Nothing in it is an end that a rule for clients with LF.LF would see.
func stuffedText(text []byte) (out []byte) {
	for line := range bytes.Lines(text) {
		if line[0] == '.' {
			out = append(out, '.')
		}
		out = append(out, line...)
	}
	return out
}

// messageUnder is a session under rules, in which the text of a message is due; nil
// if the rules do not let it get there.
func messageUnder(t *testing.T, rules *rewrite.Rules) *rewrite.Dialogue {
	d := rewrite.New(&rewrite.Policy{Rules: rules, Hostname: "relay.example.com"}, netip.MustParseAddr("192.0.2.7"), silent{})
	d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
	for _, c := range [][2]string{
		{"EHLO client.example.net", "250 mail.example.com"}, {"MAIL FROM:<a@example.com>", "250 ok"}, {"RCPT TO:<b@example.net>", "250 ok"}, {"DATA", "354 go on"},
	} {
		ask(d, []byte(c[0]+"\r\n"), []byte(c[1]+"\r\n"))
	}
	if next := d.Next(false); next != rewrite.AwaitMessage {
		d.Close()
		return nil
	}
	return d
}
