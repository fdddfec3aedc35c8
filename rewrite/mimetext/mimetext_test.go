package mimetext

import (
	"fmt"
	"strings"
	"testing"
)

// lines writes a message as on the wire: its lines, with dots doubled.
func lines(text ...string) string {
	var b strings.Builder
	for _, l := range text {
		if strings.HasPrefix(l, ".") {
			b.WriteByte('.')
		}
		b.WriteString(l + "\r\n")
	}
	return b.String()
}

// made is what a Writer makes of a message, which it gets in pieces of n octets; 0: of a line.
func made(w *Writer, in string, n int) string {
	var out []byte
	for len(in) > 0 {
		end := n
		if end == 0 {
			end = strings.IndexByte(in, '\n') + 1
		}
		end = min(end, len(in))
		if end < len(in) && in[end-1] == '\r' {
			end++
		}
		out = w.Append(out, []byte(in[:end]))
		in = in[end:]
	}
	return string(w.End(out))
}

type result struct{ changed, eight, dots, unclear bool }

func resultOf(w *Writer) result {
	return result{w.Changed(), w.EightBit(), w.LeadingDots(), w.Unclear()}
}

// want plays a message in pieces of every size.
func want(t *testing.T, plan Plan, in, out string, r result) {
	t.Helper()
	for _, n := range []int{0, 1, 2, 3, 7, 76, 1000, 1 << 20} {
		w := New(plan)
		if got := made(w, in, n); got != out {
			t.Errorf("in pieces of %d:\n%q\nbecomes\n%q, not\n%q", n, in, got, out)
			return
		}
		if got := resultOf(w); got != r {
			t.Errorf("in pieces of %d: %q: %+v, want %+v", n, in, got, r)
			return
		}
	}
}

var labelled = Plan{Encode: LabelledTexts}

func TestATextLabelled8bitBecomesQuotedPrintable(t *testing.T) {
	want(t, labelled,
		lines("From: a@example.com", "MIME-Version: 1.0", "Content-Type: text/plain;", " charset=utf-8",
			"content-transfer-encoding: 8BIT", "Subject: x", "", "Gr\u00fc\u00dfe = ", "..", "--", strings.Repeat("\u00fc", 30)),
		lines("From: a@example.com", "MIME-Version: 1.0", "Content-Type: text/plain;", " charset=utf-8",
			"Content-Transfer-Encoding: quoted-printable", "Subject: x", "", "Gr=C3=BC=C3=9Fe =3D=20", "..", "=2D-",
			strings.Repeat("=C3=BC", 12)+"=C3=", "=BC"+strings.Repeat("=C3=BC", 12)+"=", strings.Repeat("=C3=BC", 5)),
		result{changed: true, dots: true})
}

func TestWhatIsNotLabelled8bitStaysAsItIs(t *testing.T) {
	for _, c := range []struct {
		in    string
		eight bool
	}{
		{lines("Subject: x", "", "text"), false},
		{lines("Subject: x", "", "t\u00e4xt"), true},
		{lines("Subject: \u00e4", "", "text"), false},
		{lines("Subject: x"), false},
		{lines("", "text"), false},
		{lines("Content-Transfer-Encoding: quoted-printable", "", "=C3=BC =", "--"), false},
		{lines("Content-Type: application/octet-stream", "Content-Transfer-Encoding: 8bit", "", "\u00fc"), true},
		{lines("Content-Type: text/plain; charset", "Content-Transfer-Encoding: 8bit", "", "\u00fc"), true},
		{lines("Content-Transfer-Encoding: 8bit", "Content-Transfer-Encoding: 7bit", "", "\u00fc"), true},
		{lines("Content-Transfer-Encoding: 8bit", "no field", "", "\u00fc"), true},
		{lines("X: "+strings.Repeat("x", maxHeader), "Content-Transfer-Encoding: 8bit", "", "\u00fc"), true},
		{lines("Content-Type: multipart/mixed", "Content-Transfer-Encoding: 8bit", "", "--", "\u00fc"), true},
		{lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Transfer-Encoding: 8bit", "--b--"), false},
	} {
		want(t, labelled, c.in, c.in, result{eight: c.eight})
	}
}

func TestWhatIsSignedStaysAsItIs(t *testing.T) {
	for _, signature := range []string{"DKIM-Signature: v=1; d=example.com", "ARC-Message-Signature: i=1", "DomainKey-Signature: a=rsa-sha1",
		"Content-Type: multipart/signed; boundary=b", "Content-Type: multipart/encrypted; boundary=b", "Content-Type: application/pkcs7-mime"} {
		in := lines(signature, "Content-Transfer-Encoding: 8bit", "", "--b", "Content-Transfer-Encoding: 8bit", "", "\u00fc", "--b--")
		want(t, labelled, in, in, result{eight: true})
	}
	signed := "DKIM-Signature: v=1"
	want(t, Plan{Encode: LabelledTexts, BreakSignatures: true},
		lines(signed, "MIME-Version: 1.0", "Content-Transfer-Encoding: 8bit", "", "\u00fc"),
		lines(signed, "MIME-Version: 1.0", "Content-Transfer-Encoding: quoted-printable", "", "=C3=BC"), result{changed: true})
}

func TestOnlyThePartsThatNeedItAreEncoded(t *testing.T) {
	const sealed = "Content-Type: multipart/signed; boundary=inner"
	want(t, labelled,
		lines("MIME-Version: 1.0", `Content-Type: multipart/mixed; boundary="a b"`, "Content-Transfer-Encoding: 8bit", "", "preamble", "--a b \t",
			"Content-Type: text/html", "Content-Transfer-Encoding: 8bit", "", "\u00fc", "--a b",
			sealed, "", "--inner", "", "text", "--inner--", "", "--a b",
			"Content-Type: message/rfc822", "Content-Transfer-Encoding: 8bit", "", "Content-Transfer-Encoding: 8bit", "", "\u00e4", "--a b",
			"", "plain", "--a b--", "epilogue"),
		lines("MIME-Version: 1.0", `Content-Type: multipart/mixed; boundary="a b"`, "Content-Transfer-Encoding: 7bit", "", "preamble", "--a b \t",
			"Content-Type: text/html", "Content-Transfer-Encoding: quoted-printable", "", "=C3=BC", "--a b",
			sealed, "", "--inner", "", "text", "--inner--", "", "--a b",
			"Content-Type: message/rfc822", "Content-Transfer-Encoding: 7bit", "", "Content-Transfer-Encoding: quoted-printable", "MIME-Version: 1.0", "", "=C3=A4", "--a b",
			"", "plain", "--a b--", "epilogue"),
		result{changed: true})
}

func TestADigestHasMessages(t *testing.T) {
	want(t, labelled,
		lines("Content-Type: multipart/digest; boundary=b", "", "--b", "", "MIME-Version: 1.0", "Content-Transfer-Encoding: 8bit", "", "\u00e4", "--b--"),
		lines("Content-Type: multipart/digest; boundary=b", "", "--b", "", "MIME-Version: 1.0", "Content-Transfer-Encoding: quoted-printable", "", "=C3=A4", "--b--"),
		result{changed: true})
}

// Readers differ about such a line: RFC 2046, 5.1.1, and many that want all of it.
func TestAPartWhoseEndIsUnclearIsNotEncoded(t *testing.T) {
	begin := []string{"Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Transfer-Encoding: 8bit", "", "x", "--bc"}
	w := New(labelled)
	made(w, lines(append(begin, "--b--")...), 0)
	if !w.Unclear() {
		t.Error("it is clear")
	}
	w = New(labelled)
	made(w, lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "", "x", "--bc", "--b--"), 0)
	if w.Unclear() || w.Changed() {
		t.Error("what stays as it is is unclear")
	}
}

// A soft line break may bring what looks like a delimiter to the start of a line.
func TestNoDelimiterIsMade(t *testing.T) {
	in := strings.Repeat("x", 75) + "--b" + strings.Repeat("y", 80)
	want(t, Plan{Encode: EveryText},
		lines("MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b", "", "--b", "", in, "--b--"),
		lines("MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Transfer-Encoding: quoted-printable", "",
			strings.Repeat("x", 75)+"=", "=2D=", "-b"+strings.Repeat("y", 72)+"=", "yyyyyyyy", "--b--"),
		result{changed: true})
}

func TestTextWithoutALabelGetsOne(t *testing.T) {
	plan := Plan{Label: true, Charset: "iso-8859-1"}
	want(t, plan, lines("Subject: x", "", "\xfc"),
		lines("Subject: x", "MIME-Version: 1.0", "Content-Type: text/plain; charset=iso-8859-1", "Content-Transfer-Encoding: 8bit", "", "\xfc"),
		result{changed: true, eight: true})
	want(t, plan, lines("MIME-Version: 1.0", "Content-Type: text/plain; format=flowed; charset=US-ASCII", "", "\xfc"),
		lines("MIME-Version: 1.0", "Content-Type: text/plain; charset=iso-8859-1; format=flowed", "Content-Transfer-Encoding: 8bit", "", "\xfc"),
		result{changed: true, eight: true})
	right := lines("MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "", "\u00fc")
	want(t, plan, right, right, result{eight: true})
}

func TestADotThatBeginsALineOfQuotedPrintableIsEncoded(t *testing.T) {
	long := strings.Repeat("x", 74)
	want(t, Plan{Dots: true}, lines("Content-Transfer-Encoding: quoted-printable", "", ".a", "..", "."+long, "b."),
		lines("Content-Transfer-Encoding: quoted-printable", "", "=2Ea", "=2E.", "=2E=", long, "b."), result{changed: true})
	plain := lines("", ".a", "b.")
	want(t, Plan{Dots: true}, plain, plain, result{dots: true})
	want(t, Plan{Dots: true, Encode: EveryText}, lines("MIME-Version: 1.0", "", ".a", "b."),
		lines("MIME-Version: 1.0", "Content-Transfer-Encoding: quoted-printable", "", "=2Ea", "b."), result{changed: true})
}

func TestABlankGoesBeforeADotOfPlainText(t *testing.T) {
	want(t, Plan{Dots: true, Prefix: true},
		lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "", ".a", "..", "b.", "--b", "Content-Transfer-Encoding: quoted-printable", "", ".", "--b--"),
		lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "", " .a", " ..", "b.", "--b", "Content-Transfer-Encoding: quoted-printable", "", "=2E", "--b--"),
		result{changed: true})
	signed := lines("DKIM-Signature: v=1", "", ".a")
	want(t, Plan{Dots: true, Prefix: true}, signed, signed, result{dots: true})
}

func TestLongLinesOfEncodedPartsAreBroken(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, n := range []int{255, 1100, 5000} {
		var broken []string
		left := n
		for ; left > 75; left -= 75 {
			broken = append(broken, x(75)+"=")
		}
		broken = append(broken, x(left))
		want(t, Plan{Break: 254}, lines("Content-Transfer-Encoding: quoted-printable", "", x(254), x(n), "end"),
			lines(append(append([]string{"Content-Transfer-Encoding: quoted-printable", "", x(254)}, broken...), "end")...), result{changed: true})
		broken = nil
		for left = n; left > 76; left -= 76 {
			broken = append(broken, x(76))
		}
		broken = append(broken, x(left))
		want(t, Plan{Break: 254}, lines("Content-Transfer-Encoding: base64", "", x(254), x(n), "end"),
			lines(append(append([]string{"Content-Transfer-Encoding: base64", "", x(254)}, broken...), "end")...), result{changed: true})
	}
	want(t, Plan{Break: 78}, lines("Content-Transfer-Encoding: quoted-printable", "", x(73)+"=3D=3D"),
		lines("Content-Transfer-Encoding: quoted-printable", "", x(73)+"=", "=3D=3D"), result{changed: true})
}

// Readers do not agree on what these are: nothing in them is encoded.
func TestWhatIsReadInTwoWaysStaysAsItIs(t *testing.T) {
	const eight, multi = "Content-Transfer-Encoding: 8bit", "Content-Type: multipart/mixed; boundary="
	for _, in := range []string{
		lines(eight, eight, "", "\u00fc"),
		lines("Content-Transfer-Encoding: binary", eight, "", "\u00fc"),
		lines("Content-Type: text/plain", "Content-Type: text/plain", eight, "", "\u00fc"),
		lines(multi+`"b "`, "", "--b ", eight, "", "\u00fc", "--b --"),
	} {
		want(t, labelled, in, in, result{eight: true})
	}
}

// A field of a body part's header is no signature of the message (RFC 6376, 3.5).
func TestAPartIsNotSignedByAFieldOfItsOwn(t *testing.T) {
	const head = "Content-Type: multipart/mixed; boundary=b"
	want(t, labelled, lines(head, "", "--b", "DKIM-Signature: v=1", "Content-Transfer-Encoding: 8bit", "", "\u00fc", "--b--"),
		lines(head, "", "--b", "DKIM-Signature: v=1", "Content-Transfer-Encoding: quoted-printable", "", "=C3=BC", "--b--"), result{changed: true})
}

func TestALineOfAllThatIsLookedAtKeepsItsEnd(t *testing.T) {
	for length := maxLine - 3; length <= maxLine+3; length++ {
		in := lines("Subject: x", "", strings.Repeat("x", length), ".y")
		want(t, labelled, in, in, result{dots: true})
	}
}

// What stands deeper passes as it is, and what is behind it is read again.
func TestMultipartsAreReadToADepthAndNoFurther(t *testing.T) {
	eight, quoted := []string{"Content-Transfer-Encoding: 8bit", "", "\u00fc"}, []string{"Content-Transfer-Encoding: quoted-printable", "", "=C3=BC"}
	nested := func(depth int, innermost, behind []string) string {
		var all []string
		for i := range depth {
			all = append(all, fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%02d", i), "", fmt.Sprintf("--b%02d", i))
		}
		all = append(all, innermost...)
		for i := depth - 1; i > 0; i-- {
			all = append(all, fmt.Sprintf("--b%02d--", i))
		}
		return lines(append(append(append(all, "--b00"), behind...), "--b00--")...)
	}
	want(t, labelled, nested(maxDepth, eight, eight), nested(maxDepth, quoted, quoted), result{changed: true})
	want(t, labelled, nested(maxDepth+1, eight, eight), nested(maxDepth+1, eight, quoted), result{changed: true, eight: true})
}
