package rewrite_test

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// A posting is a message that a client sends through rules to a server.
type posting struct {
	rules, ehlo, mail string // ehlo: what the server offers, in words
	nested            string // a MAIL that the server refuses within the transaction; "": none
	options           map[string]map[string]any
}

// text begins the message.
func (p posting) text(t *testing.T) (*rewrite.Dialogue, *rewrite.Text, *talk) {
	t.Helper()
	rules, errs := heal.Compile(strings.Fields(p.rules), p.options)
	if errs != nil {
		t.Fatal(errs)
	}
	k := &talk{T: t}
	d := rewrite.New(&rewrite.Policy{Rules: rules, Hostname: "relay.example.com", Limits: rewrite.Limits{Errors: 20},
		Stamp: func() (string, string) { return "Mon, 02 Jan 2006 15:04:05 +0000", "w0rd" }}, netip.MustParseAddr("192.0.2.7"), k)
	k.d = d
	d.Connected(netip.MustParseAddrPort("192.0.2.7:49152"), netip.MustParseAddrPort("127.0.0.1:25"))
	d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
	reply := "250"
	for _, keyword := range strings.Fields(p.ehlo) {
		reply += "-ok\r\n250"
		reply = strings.Replace(reply, "-ok\r\n250", "-"+keyword+"\r\n250", 1)
	}
	mail := p.mail
	if mail == "" {
		mail = "MAIL FROM:<a@example.net>"
	}
	for _, said := range [][2]string{{"EHLO client.example.net", "250-mail.example.com\r\n" + reply + " HELP"}, {mail, "250 ok"}, {p.nested, "503 nested MAIL"}, {"RCPT TO:<b@example.com>", "250 ok"}, {"DATA", "354 go"}} {
		if said[0] == "" {
			continue
		}
		if !d.Command([]byte(said[0]+"\r\n"), false) {
			t.Fatalf("%s was not taken", said[0])
		}
		d.Reply([]byte(said[1]+"\r\n"), false, false)
	}
	if d.Next(false) != rewrite.AwaitMessage {
		t.Fatalf("the dialogue waits for %d", d.Next(false))
	}
	return d, d.Text(), k
}

// becomes sends a message in pieces of several sizes, and wants it to be out, or refused.
func (p posting) becomes(t *testing.T, in, out, refusal string) {
	t.Helper()
	for _, size := range []int{1 << 20, 1, 2, 5, 64, 1000} {
		d, m, k := p.text(t)
		var cuts []int
		for at := size; at < len(in); at += size {
			cuts = append(cuts, at)
		}
		got := string(byDATA(m, []byte(in+".\r\n"), cuts...))
		if m.Refusal() != refusal || refusal == "" && got != out+".\r\n" || len(k.whys) > 0 {
			t.Errorf("in pieces of %d:\n%q\nbecomes\n%q,\nnot\n%q; refusal %q, broke %q", size, in, got, out, m.Refusal(), k.whys)
		}
		d.Close()
	}
}

func text(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }

const (
	eightBits = "Content-Transfer-Encoding: 8bit"
	quotedIs  = "Content-Transfer-Encoding: quoted-printable"
	mime1     = "MIME-Version: 1.0"
)

func TestWhatIsDeclaredAs8BitIsEncodedForAServerWithout8BITMIME(t *testing.T) {
	const cannot = "554 5.6.3 the message has 8-bit text that cannot be made 7-bit"
	p := posting{rules: "offer-8bitmime", ehlo: "PIPELINING SIZE", mail: "MAIL FROM:<a@example.net> BODY=8BITMIME"}
	eight := text(mime1, eightBits, "", "\u00fc=")
	p.becomes(t, eight, text(mime1, quotedIs, "", "=C3=BC=3D"), "")
	p.becomes(t, text("Subject: \u00fc", "", "text"), text("Subject: \u00fc", "", "text"), "")
	p.becomes(t, text("Subject: x", "", "\u00fc"), "", cannot)
	p.becomes(t, text("DKIM-Signature: v=1", mime1, eightBits, "", "\u00fc"), "", cannot)
	p.becomes(t, text("DKIM-Signature: v=1", mime1, eightBits, "", "u"), text("DKIM-Signature: v=1", mime1, eightBits, "", "u"), "")
	p.becomes(t, text(mime1, "Content-Type: multipart/signed; boundary=b", "", "--b", eightBits, "", "\u00fc", "--b--"), "", cannot)
	p.becomes(t, text(mime1, "Content-Type: multipart/mixed; boundary=b", "", "--b", eightBits, "", "--bc", "--b--"), "",
		"554 5.6.3 the message has a line that may end one of its parts, or not, and cannot be encoded")

	breaks := p
	breaks.options = map[string]map[string]any{"offer-8bitmime": {"signatures": "break"}}
	breaks.becomes(t, text("DKIM-Signature: v=1", mime1, eightBits, "", "\u00fc"), text("DKIM-Signature: v=1", mime1, quotedIs, "", "=C3=BC"), "")

	for _, mail := range []string{"MAIL FROM:<a@example.net>", "MAIL FROM:<a@example.net> BODY=7BIT"} {
		p.mail = mail
		p.becomes(t, eight, eight, "")
	}
	posting{rules: "offer-8bitmime", ehlo: "8BITMIME", mail: "MAIL FROM:<a@example.net> BODY=8BITMIME"}.becomes(t, eight, eight, "")
	posting{rules: "offer-8bitmime", mail: "MAIL FROM:<a@example.net> BODY=8BITMIME",
		options: map[string]map[string]any{"offer-8bitmime": {"text": "pass"}}}.becomes(t, eight, eight, "")
}

// Of two MAILs in one transaction the one that was accepted counts.
func TestARefusedMAILDeclaresNothing(t *testing.T) {
	p := posting{rules: "offer-8bitmime", ehlo: "SIZE", mail: "MAIL FROM:<a@example.net> BODY=8BITMIME", nested: "MAIL FROM:<a@example.net>"}
	p.becomes(t, text(mime1, eightBits, "", "\u00fc"), text(mime1, quotedIs, "", "=C3=BC"), "")
}

func TestTextOfANamedClientIsLabelledOrEncoded(t *testing.T) {
	latin := map[string]any{"charset": "iso-8859-1"}
	p := posting{rules: "label-8bit", ehlo: "8BITMIME", options: map[string]map[string]any{"label-8bit": latin}}
	p.becomes(t, text("Subject: x", "", "\xfc"), text("Subject: x", mime1, "Content-Type: text/plain; charset=iso-8859-1", eightBits, "", "\xfc"), "")
	latin["mode"] = "encode"
	p.becomes(t, text("Subject: x", "", "\xfc"), text("Subject: x", mime1, "Content-Type: text/plain; charset=iso-8859-1", quotedIs, "", "=FC"), "")
	signed := text("DKIM-Signature: v=1", "", "\xfc")
	p.becomes(t, signed, signed, "")
}

func TestLeadingDotsAreQuotedOrRefused(t *testing.T) {
	quoted, plain := text(quotedIs, "", "..a"), text(mime1, "", "..a")
	for _, c := range []struct{ mode, rest, in, out, refusal string }{
		{"quote", "pass", quoted, text(quotedIs, "", "=2Ea"), ""},
		{"quote", "pass", plain, plain, ""},
		{"quote", "refuse", plain, "", "554 5.6.3 the message has a line that begins with a dot"},
		{"encode", "refuse", plain, text(mime1, quotedIs, "", "=2Ea"), ""},
		{"blank", "refuse", plain, text(mime1, "", " .a"), ""},
		{"blank", "refuse", text("DKIM-Signature: v=1", "", "..a"), "", "554 5.6.3 the message has a line that begins with a dot"},
	} {
		posting{rules: "leading-dots", options: map[string]map[string]any{"leading-dots": {"mode": c.mode, "rest": c.rest}}}.becomes(t, c.in, c.out, c.refusal)
	}
}

func TestLongHeaderLinesAreFoldedAtWhiteSpace(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, length := range []int{78, 254, 998} {
		p := posting{rules: "long-lines", options: map[string]map[string]any{"long-lines": {"length": int64(length)}}}
		for _, c := range []struct{ in, out string }{
			{text("A: "+x(length-3), "", x(length)), text("A: "+x(length-3), "", x(length))},
			{text("A: b "+x(length), ""), text("A: b", " "+x(length-1), " x", "")},
			{text("A: "+x(length-3)+" y", ""), text("A: "+x(length-3), " y", "")},
			{text("A: "+x(length-4)+"  y", ""), text("A: "+x(length-4)+" ", " y", "")},
			{text("A: "+x(length-3)+"   ", ""), text("A: "+x(length-3), "")},
			{text("A:"+x(length), ""), text("A:"+x(length-2), " xx", "")},
			{text("A:"+x(length-3)+"\u00fc", ""), text("A:"+x(length-3), " \u00fc", "")},
			{text("A: b", "   ", " c", "", "d"), text("A: b", "   ", " c", "", "d")},
			{text(".."+x(length-1), ""), text(".."+x(length-1), "")}, // the first dot is there for DATA alone
			{text("A: b", "", x(length+1)), text("A: b", "", x(length), " x")},
		} {
			if length == 78 && strings.HasPrefix(c.in, "A: b "+x(length)) {
				c.out = text("A: b", " "+x(77), " x", "")
			}
			p.becomes(t, c.in, c.out, "")
		}
	}
}

func TestLongLinesOfTextAreEncodedOrTheMessageIsRefused(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	p := posting{rules: "long-lines", options: map[string]map[string]any{"long-lines": {"mode": "encode", "length": int64(254)}}}
	p.becomes(t, text("Subject: x "+x(250), mime1, "", x(100)),
		text("Subject: x", " "+x(250), mime1, quotedIs, "", x(75)+"=", x(25)), "")
	p.becomes(t, text("Content-Transfer-Encoding: base64", "", x(300)), text("Content-Transfer-Encoding: base64", "", x(76), x(76), x(76), x(72)), "")
	p.becomes(t, text("DKIM-Signature: v=1", "", x(255)), "", "554 5.6.0 the message has a line of more than 254 octets")
	p.becomes(t, text("DKIM-Signature: v=1", "", x(254)), text("DKIM-Signature: v=1", "", x(254)), "")
}

func TestHeaderFieldsAreUnfoldedRemovedAndAdded(t *testing.T) {
	x := strings.Repeat("x", 990)
	for _, c := range []struct {
		unfold, remove, add string
		in, out             string
	}{
		{"From", "", "", text("To: a,", " b", "from: A", "\t<a@example.com>", "Subject: x", " y", "", "From: A", " b"),
			text("To: a,", " b", "from: A\t<a@example.com>", "Subject: x", " y", "", "From: A", " b")},
		{"From", "", "", text("From: A", " b"), text("From: A b")},
		{"From", "", "", text("From: A", " "+x, " b"), text("From: A "+x, " b")},
		{"From", "", "", text("From: "+x+x, " b", ""), text("From: "+x+x, " b", "")},
		{"", "Sender", "", text("From: a", "Sender: b", "\tc", "To: d", "", "Sender: e"), text("From: a", "To: d", "", "Sender: e")},
		{"", "Sender", "", text("Sender: " + x + x), ""},
		{"", "", "Date Message-ID", text("From: a", "", "b"), text("From: a", "Date: Mon, 02 Jan 2006 15:04:05 +0000", "Message-ID: <w0rd@relay.example.com>", "", "b")},
		{"", "", "Date Message-ID", text("date: x", "MESSAGE-ID : y", "", "b"), text("date: x", "MESSAGE-ID : y", "", "b")},
		{"", "", "Date", text("", "b"), text("Date: Mon, 02 Jan 2006 15:04:05 +0000", "", "b")},
		{"", "", "Date", text("hello you", "", "b"), text("Date: Mon, 02 Jan 2006 15:04:05 +0000", "", "hello you", "", "b")},
		{"", "", "Date", text("From a@example.com", "From: b", ""), text("From a@example.com", "From: b", "Date: Mon, 02 Jan 2006 15:04:05 +0000", "")},
		{"", "", "Date", text("To: c", "From a@example.com", "From: b", ""), text("To: c", "Date: Mon, 02 Jan 2006 15:04:05 +0000", "From a@example.com", "From: b", "")},
		{"", "", "Date", text("From: b"), text("From: b", "Date: Mon, 02 Jan 2006 15:04:05 +0000")},
	} {
		posting{rules: "header-fields", options: map[string]map[string]any{"header-fields": {
			"unfold": strings.Fields(c.unfold), "remove": strings.Fields(c.remove), "add": strings.Fields(c.add)}}}.becomes(t, c.in, c.out, "")
	}
}

func TestTheLastTextOfAMessageGoesWithItsDot(t *testing.T) {
	p := posting{rules: "dot-with-text"}
	in := text("Subject: x", "", strings.Repeat("y", 700), "z")
	p.becomes(t, in, in, "")
	_, m, _ := p.text(t)
	before, _, _ := m.Next(nil, []byte(in))
	held := len(in) - len(before)
	if last, _, end := m.Next(nil, []byte(".\r\n")); !end || held != heldAtMost || string(last) != in[len(before):]+".\r\n" {
		t.Errorf("%d octets were held back, and %q is last", held, last)
	}
}

const heldAtMost = 512

// All rules for messages at once, each at what changes most, and messages of whatever they
// look at: what goes out is text that ends where the message does.
func TestMessageRulesTogetherMakeText(t *testing.T) {
	options := map[string]map[string]any{
		"label-8bit": {"mode": "encode"}, "leading-dots": {"mode": "encode"}, "long-lines": {"length": int64(80)},
		"header-fields": {"unfold": []string{"From"}, "remove": []string{"Sender"}, "add": []string{"Date", "Message-ID"}},
	}
	words := []string{"From: ", "Sender: ", "DKIM-Signature: ", eightBits, quotedIs, "Content-Type: multipart/mixed; boundary=b", "Content-Type: text/plain",
		"\r\n", "\r\n", "\r\n", "\r\n\r\n", "\r\n ", "--b", "--b--", "..", "x", " ", "=", "\u00fc", strings.Repeat("y", 79), strings.Repeat("z ", 60), strings.Repeat("w", 1100)}
	random := rand.New(rand.NewPCG(1, 17))
	for _, mode := range []string{"fold", "encode", "refuse"} {
		options["long-lines"]["mode"] = mode
		p := posting{rules: "stray-bytes header-fields label-8bit offer-8bitmime leading-dots long-lines dot-with-text", mail: "MAIL FROM:<a@example.net> BODY=8BITMIME", options: options}
		for range 2000 {
			in := ""
			for range random.IntN(40) {
				in += words[random.IntN(len(words))]
			}
			in += "\r\n.\r\n"
			if i := strings.Index("\r\n"+in, "\r\n.\r\n"); i+len(".\r\n") != len(in) {
				continue
			}
			d, m, k := p.text(t)
			out := string(byDATA(m, []byte(in), random.IntN(len(in)), len(in)))
			if len(k.whys) > 0 {
				t.Fatalf("%s: %q: broke %q", mode, in, k.whys)
			}
			if m.Refusal() == "" {
				checkSent(t, in, out)
			}
			d.Close()
		}
	}
}

// checkSent checks a message that was folded at 80.
func checkSent(t *testing.T, in, out string) {
	t.Helper()
	if i := strings.Index("\r\n"+out, "\r\n.\r\n"); i+len(".\r\n") != len(out) {
		t.Fatalf("%q becomes\n%q, which ends at %d", in, out, i)
	}
	for line := range strings.Lines(out) {
		if text, ok := strings.CutSuffix(line, "\r\n"); !ok || len(strings.TrimPrefix(text, ".")) > 80 {
			t.Fatalf("%q becomes\n%q, with the line %q", in, out, line)
		}
	}
}
