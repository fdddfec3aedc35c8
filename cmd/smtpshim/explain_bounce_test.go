package main

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

const bounceHead = "Return-Path: <>\nReceived: by mail.example.com; Sat, 28 Nov 2026 10:02:11 +0100\nFrom: MAILER-DAEMON@mail.example.com\nSubject: failed: 550 5.6.11\n"

// aReport is a bounce with these parts, each with its fields, that returns a message
// about another failure.
func aReport(parts ...string) string {
	var b strings.Builder
	b.WriteString(bounceHead + "MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"x/1\"\n\nThis is a MIME message.\n")
	for _, p := range append(parts, "Content-Type: message/rfc822\n\nSubject: 501 Invalid Address\n\nThe server said 502 Server does not support AUTH.\n") {
		b.WriteString("\n--x/1\n" + p)
	}
	return b.String() + "\n--x/1--\n"
}

func TestABounceIsExplainedByItsReportAndNotByTheMessageItReturns(t *testing.T) {
	const refusal = "505 5.7.0 Must issue a STARTTLS command first"
	said := "<b@example.net>: host mx.example.net[192.0.2.1] said: " + refusal + "\n"
	encoded := base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(said, "\n", "\r\n")))
	status := "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mail.example.com\n\nStatus: 5.7.0\nDiagnostic-Code: smtp; 505 5.7.0 Must issue a\n  STARTTLS command first\n"
	whole := aReport("Content-Type: text/plain\n\n" + said)
	for name, text := range map[string]string{
		"text":             whole,
		"CRLF":             strings.ReplaceAll(whole, "\n", "\r\n"),
		"from a mailbox":   "From MAILER-DAEMON Sat Nov 28 10:02:11 2026\n" + whole,
		"cut off":          whole[:strings.Index(whole, "Content-Type: message/rfc822")],
		"base64":           aReport("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n" + encoded[:40] + "\n" + encoded[40:] + "\n"),
		"quoted-printable": aReport("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nsaid: 505 5.7.0 Must issue a START=\nTLS command=20first\n"),
		"status alone":     aReport(status),
		"HTML alone":       bounceHead + "Content-Type: text/html\n\n<style>p{color:red}</style><p>said:&#32;505 5.7.0 Must issue a STARTTLS command&#32;first</p>\n",
		"alternatives":     aReport("Content-Type: multipart/alternative; boundary=y\n\n--y\nContent-Type: text/plain\n\n" + said + "--y\nContent-Type: text/html\n\n<p>550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal\n--y--\n"),
		"forwarded":        "From: anna@example.com\nDate: Sat, 28 Nov 2026 10:02:11 +0100\nContent-Type: multipart/mixed; boundary=z\n\n--z\n\nWhat is this?\n--z\nContent-Type: message/rfc822\n\n" + whole + "\n--z--\n",
		"qmail":            bounceHead + "\nHi. This is the qmail-send program.\n\n" + said + "\n--- Below this line is a copy of the message.\n\nSubject: 501 Invalid Address\n",
		"Exim":             bounceHead + "\n  b@example.net\n    " + refusal + "\n\n------ This is a copy of the message, including all the headers. ------\n\nSubject: 501 Invalid Address\n",
		"Sendmail":         bounceHead + "\n   ----- Transcript of session follows -----\n<<< " + refusal + "\n\n   ----- Unsent message follows -----\nSubject: 501 Invalid Address\n",
	} {
		e, err := newExplainer().explain(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		var rules []string
		for _, f := range e.Found {
			rules = append(rules, f.Rule)
		}
		slices.Sort(rules)
		if want := []string{"mend-505", "retry-starttls"}; !slices.Equal(rules, want) {
			t.Errorf("%s: it leads to %q, want %q; these lines were read: %q", name, rules, want, linesRead(t, text))
		}
	}
}

func TestOfHTMLTheTextIsRead(t *testing.T) {
	for text, want := range map[string][]string{
		"<p>550 no<br>more</p>":                             {"550 no", "more"},
		"550 1 < 2 &amp; 3 &gt; 2":                          {"550 1 < 2 & 3 > 2"},
		"<p title='a > b'>550 no":                           {"550 no"},
		"<style>p::before{content:'550 a'}</style>550 b":    {"550 b"},
		"<SCRIPT>if (a<b) say('550 a')</SCRIPT >550 b":      {"550 b"},
		"<!-- 550 a --><!--[if mso]>550 b<![endif]-->550 c": {"550 c"},
		"550 a<style>550 b":                                 {"550 a"}, // cut off
		"550 a<!-- 550 b":                                   {"550 a"},
	} {
		got := slices.DeleteFunc(linesRead(t, bounceHead+"Content-Type: text/html\n\n"+text+"\n"), func(line string) bool { return line == "" })
		if !slices.Equal(got, want) {
			t.Errorf("%q is read as %q, want %q", text, got, want)
		}
	}
}

func TestWhatIsNoMessageIsReadAsItIs(t *testing.T) {
	for _, text := range []string{
		"Final-Recipient: rfc822; b@example.com\n\nFrom: 505 Must issue a STARTTLS command first\n",
		"From: somebody\n\n505 Must issue a STARTTLS command first\n",
		"date: 505 Must issue a STARTTLS command first\n",
		bounceHead + "Content-Type: image/png\n\nAAAA\n", // nothing to read in it
	} {
		var want []string
		if err := foldedLines(strings.NewReader(text), func(line string) { want = append(want, line) }); err != nil {
			t.Fatal(err)
		}
		if lines := linesRead(t, text); !slices.Equal(lines, want) {
			t.Errorf("%q is read as %q", text, lines)
		}
	}
}

// linesRead are the lines of a text that are explained.
func linesRead(t *testing.T, text string) (lines []string) {
	t.Helper()
	if err := eachLine(strings.NewReader(text), func(line string) { lines = append(lines, line) }); err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestABounceIsReadInItsCharset(t *testing.T) {
	for charset, octets := range map[string]string{"ISO-8859-1": "\xfc\x93", "latin1": "\xfc\x93", "windows-1252": "\xfc", "iso-8859-15": "\xfc", "utf-8": "ü"} {
		bounce := "From: <>\r\nDate: Thu, 19 Nov 2026 10:00:00 +0000\r\nContent-Type: text/plain; charset=" + charset + "\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
			"550 5.1.1 nicht " + octets + "bermittelt: User unknown\r\n"
		want := "übermittelt"
		if strings.HasSuffix(octets, "\x93") { // a quote, where ISO-8859-1 has a control
			want = "ü“bermittelt"
		}
		var stdout, stderr bytes.Buffer
		if explainFrom([]string{"-"}, strings.NewReader(bounce), &stdout, &stderr); !strings.Contains(stdout.String(), want) {
			t.Errorf("%s: told as %q", charset, &stdout)
		}
	}
}
