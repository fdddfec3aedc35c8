package proxy_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
)

// A record is everything that a proxy tells of its sessions at debug level: the
// log in both forms, and the lines that an observer hears.
type record struct {
	*counts
	mu         sync.Mutex
	text, json bytes.Buffer
	lines      bytes.Buffer
}

func (r *record) Dialogue(proxy.Beginning) proxy.DialogueListener { return r }

func (r *record) Line(l transcript.Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(&r.lines, l, l.Rule)
}

func (r *record) End(e proxy.Ending) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(&r.lines, e)
}

// guarded lets the log's two handlers write at the same time as others read.
type guarded struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (g guarded) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.Write(b)
}

// recorded plays one session and gives all that was told of it.
func recorded(t *testing.T, server, client []smtptest.Step, change func(*proxy.Route)) *record {
	t.Helper()
	rec := &record{counts: newCounts()}
	debug := &slog.HandlerOptions{Level: slog.LevelDebug}
	s := startScripted(t, plays(server...))
	r := plainRoute(s)
	r.Name, r.Listen, r.Observer, r.Dialogue = "test", []string{"127.0.0.1:0"}, rec, rec.Dialogue
	if change != nil {
		change(r)
	}
	p := &proxy.Proxy{Logger: slog.New(slog.NewMultiHandler(
		slog.NewTextHandler(guarded{&rec.mu, &rec.text}, debug), slog.NewJSONHandler(guarded{&rec.mu, &rec.json}, debug)))}
	if err := p.Apply([]*proxy.Route{r}); err != nil {
		t.Fatal(err)
	}
	act(t, func() (net.Conn, error) { return net.Dial("tcp", p.Addr(r.Listen[0]).String()) }, plays(client...))
	s.wait(t)
	p.Close()
	return rec
}

// password is the secret of these tests, and what else gives it away.
const password = "correct-horse-battery"

func inBase64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func (r *record) wantNo(t *testing.T, secrets ...string) {
	t.Helper()
	if r.text.Len() == 0 || r.json.Len() == 0 || r.lines.Len() == 0 {
		t.Fatal("nothing at all was told")
	}
	for _, told := range []string{r.text.String(), r.json.String(), r.lines.String()} {
		for _, secret := range secrets {
			if at := strings.Index(told, secret); at >= 0 {
				t.Errorf("%q was told: %q", secret, told[max(0, at-100):min(len(told), at+100)])
			}
		}
	}
}

func TestNoSecretIsTold(t *testing.T) {
	plain := inBase64("\x00user\x00" + password)
	ntlm := "TlRMTVNTUAADAAAA" + inBase64(password+password)
	blob := inBase64(strings.Repeat(password, 400))
	secrets := []string{password, plain, inBase64(password), ntlm, ntlm[16:], blob[:40]}
	send := func(octets string) []smtptest.Step { return steps(smtptest.Send(octets)) }
	for name, test := range map[string]struct {
		server, client []smtptest.Step
		change         func(*proxy.Route)
	}{
		"AUTH PLAIN": {steps(smtptest.Expect("AUTH PLAIN "+plain), smtptest.Say("235 ok")), steps(smtptest.Say("AUTH PLAIN "+plain), smtptest.Expect("235 ok")), nil},
		"AUTH LOGIN": {steps(smtptest.Expect("AUTH LOGIN"), smtptest.Say("334 VXNlcm5hbWU6"), smtptest.Expect("dXNlcg=="), smtptest.Say("334 UGFzc3dvcmQ6"), smtptest.Expect(inBase64(password)), smtptest.Say("535 no")),
			steps(smtptest.Say("AUTH LOGIN"), smtptest.Expect("334 VXNlcm5hbWU6"), smtptest.Say("dXNlcg=="), smtptest.Expect("334 UGFzc3dvcmQ6"), smtptest.Say(inBase64(password)), smtptest.Expect("535 no")), nil},
		"AUTH LOGIN that does not wait, refused": {steps(smtptest.Expect("AUTH LOGIN"), smtptest.Say("504 no"), smtptest.Expect("dXNlcg=="), smtptest.Say("500 what"), smtptest.Expect(inBase64(password)), smtptest.Say("500 what")),
			steps(smtptest.Say("AUTH LOGIN", "dXNlcg==", inBase64(password)), smtptest.Expect("504 no", "500 what", "500 what")), nil},
		"AUTH LOGIN that does not wait": {steps(smtptest.Expect("AUTH LOGIN"), smtptest.Say("334 "), smtptest.Expect(inBase64(password)), smtptest.Say("535 no")), steps(smtptest.Say("AUTH LOGIN", inBase64(password)), smtptest.Expect("334 ", "535 no")), nil},
		"NTLM":                          {steps(smtptest.Expect("AUTH NTLM"), smtptest.Say("334 "+ntlm), smtptest.Expect(ntlm), smtptest.Say("535 no")), steps(smtptest.Say("AUTH NTLM"), smtptest.Expect("334 "+ntlm), smtptest.Say(ntlm), smtptest.Expect("535 no")), nil},
		"XAUTH":                         {steps(smtptest.Expect("XAUTH "+ntlm), smtptest.Say("500 what")), steps(smtptest.Say("XAUTH "+ntlm), smtptest.Expect("500 what")), nil},
		"a challenge of two lines":      {steps(smtptest.Expect("AUTH NTLM"), smtptest.Say("334-"+ntlm, "334 "+ntlm), smtptest.Expect("*"), smtptest.Say("501 ok")), steps(smtptest.Say("AUTH NTLM"), smtptest.Expect("334-"+ntlm, "334 "+ntlm), smtptest.Say("*"), smtptest.Expect("501 ok")), nil},
		"a challenge that is no reply":  {steps(smtptest.Expect("AUTH NTLM"), smtptest.Send("334 "+ntlm+"\n")), steps(smtptest.Say("AUTH NTLM"), smtptest.Expect(broken)), nil},
		"a challenge with mixed codes":  {steps(smtptest.Expect("AUTH NTLM"), smtptest.Send("334-"+ntlm+"\r\n235 "+ntlm+"\r\n")), steps(smtptest.Say("AUTH NTLM"), smtptest.Expect(broken)), nil},
		"a challenge to nobody":         {steps(smtptest.Expect("NOOP"), smtptest.Send("334 "+ntlm+"\r\n")), steps(smtptest.Say("NOOP"), smtptest.Expect(broken)), nil},
		"an endless challenge":          {steps(smtptest.Expect("AUTH NTLM"), smtptest.Send("334 "+blob+blob)), steps(smtptest.Say("AUTH NTLM"), smtptest.Expect(broken)), nil},
		"no CR":                         {nil, append(send("AUTH PLAIN "+plain+"\n"), smtptest.Expect(notALine)), nil},
		"a NUL behind the verb":         {nil, append(send("AUTH\x00PLAIN "+plain+"\r\n"), smtptest.Expect(notALine)), nil},
		"a CR behind the verb":          {nil, append(send("auth\rPLAIN "+plain+"\r\n"), smtptest.Expect(notALine)), nil},
		"a NUL before the verb":         {nil, append(send("\x00AUTH PLAIN "+plain+"\r\n"), smtptest.Expect(notALine)), nil},
		"a NUL behind it":               {nil, append(send("AUTH PLAIN "+plain+"\x00\r\n"), smtptest.Expect(notALine)), nil},
		"too long":                      {nil, append(send("AUTH PLAIN "+blob+blob+"\r\n"), smtptest.Expect("500 5.5.2 line too long")), nil},
		"too long behind 334":           {steps(smtptest.Expect("AUTH PLAIN"), smtptest.Say("334 ")), steps(smtptest.Say("AUTH PLAIN"), smtptest.Expect("334 "), smtptest.Send(blob+blob+"\r\n"), smtptest.Expect("500 5.5.6 SASL line too long")), nil},
		"a SASL line without CR":        {steps(smtptest.Expect("AUTH PLAIN"), smtptest.Say("334 ")), steps(smtptest.Say("AUTH PLAIN"), smtptest.Expect("334 "), smtptest.Send(plain+"\n"), smtptest.Expect("500 5.5.2 a SASL line ends with CRLF and has no bare CR, bare LF or NUL in it")), nil},
		"TLS is required first": {nil, steps(smtptest.Say("AUTH PLAIN "+plain, plain), smtptest.Expect("530 5.7.0 Must issue a STARTTLS command first", "530 5.7.0 Must issue a STARTTLS command first")), func(r *proxy.Route) {
			r.ClientTLS = proxy.ClientTLS{Mode: rewrite.ClientTLSRequire, Acceptor: proxy.AcceptWith(&tls.Config{})}
		}},
		"a last word that repeats it": {steps(smtptest.Expect("AUTH PLAIN "+plain), smtptest.Send("535 no\r\n500 what is "+plain+"\r\n")), steps(smtptest.Say("AUTH PLAIN "+plain), smtptest.Expect("535 no")),
			standard(t)},
		"a late reply that repeats it":  {steps(smtptest.Expect("AUTH PLAIN "+plain), smtptest.Send("535 no\r\n200-"+plain+"\r\n354 "+plain+"\r\n")), steps(smtptest.Say("AUTH PLAIN "+plain), smtptest.Expect("535 no")), nil},
		"the text of a message":         {steps(smtptest.Expect("DATA"), smtptest.Say("354 go"), smtptest.Expect(password, "."), smtptest.Say("250 ok")), steps(smtptest.Say("DATA"), smtptest.Expect("354 go"), smtptest.Say(password, "."), smtptest.Expect("250 ok")), nil},
		"the text of a refused message": {steps(smtptest.Expect("DATA"), smtptest.Say("354 go")), steps(smtptest.Say("DATA"), smtptest.Expect("354 go"), smtptest.Send(password+"\n\r\n.\r\n"), smtptest.Expect("554 5.6.0 the message has a bare CR, a bare LF or a NUL in it")), func(r *proxy.Route) { r.Rules = withMode(t, "stray-bytes", "refuse") }},
		"a message whose DATA was refused": {steps(smtptest.Expect("DATA"), smtptest.Say("554 no"), smtptest.Expect(password), smtptest.Say("500 what")),
			steps(smtptest.Say("DATA"), smtptest.Expect("554 no"), smtptest.Say(password), smtptest.Expect("500 what")), nil},
		"a message that was sent with DATA": {steps(smtptest.Expect("DATA"), smtptest.Say("554 no")), steps(smtptest.Say("DATA", password, "."), smtptest.Expect("554 no", "554 5.5.0 the message was sent before DATA was accepted")), nil},
		"a chunk":                           {nil, steps(smtptest.Send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(password), password)), smtptest.Expect("502 5.5.1 BDAT was not offered")), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := through(1)
			client[len(client)-1] = smtptest.Expect("250 mail.example.com")
			if test.change != nil && name == "TLS is required first" {
				client[len(client)-1] = smtptest.Expect("250-mail.example.com", "250 STARTTLS")
			}
			recorded(t, list(server, test.server), list(client, test.client), test.change).wantNo(t, secrets...)
		})
	}
}

// forgeries are octets that could end a line of a log, or work on the terminal
// that shows it.
var forgeries = []string{
	"\x1b[2J", "\x9b2J", "\u009b2J", "\x7f", "\b\b\b", "\v", "\f", "\u0085", "\u2028", "\u202e", "\xff\xfe", "\t",
	"x level=ERROR msg=\"forged\"", "\" forged=\"", "\a", "\x00", "\r", "\n",
}

func TestNobodyCanForgeALineOfTheLog(t *testing.T) {
	for _, f := range forgeries {
		for name, test := range map[string]struct{ server, client []smtptest.Step }{
			"greeting":       {steps(smtptest.Send("220 m " + f + " ESMTP\r\n")), nil},
			"greeting, bad":  {steps(smtptest.Send(f + "\r\n")), nil},
			"EHLO":           {steps(smtptest.Say(greeting)), steps(smtptest.Expect(greeting), smtptest.Send("EHLO a"+f+"b\r\n"))},
			"verb":           {steps(smtptest.Say(greeting)), steps(smtptest.Expect(greeting), smtptest.Send(f+"\r\n"))},
			"MAIL":           {steps(smtptest.Say(greeting)), steps(smtptest.Expect(greeting), smtptest.Send("MAIL FROM:<"+f+">\r\n"))},
			"AUTH":           {steps(smtptest.Say(greeting)), steps(smtptest.Expect(greeting), smtptest.Send("AUTH "+f+"\r\n"))},
			"reply":          {steps(smtptest.Say(greeting), smtptest.Expect("NOOP"), smtptest.Send("250 "+f+"\r\n")), steps(smtptest.Expect(greeting), smtptest.Say("NOOP"))},
			"reply, bad":     {steps(smtptest.Say(greeting), smtptest.Expect("NOOP"), smtptest.Send(f+"\r\n")), steps(smtptest.Expect(greeting), smtptest.Say("NOOP"))},
			"reply, unasked": {steps(smtptest.Say(greeting), smtptest.Expect("NOOP"), smtptest.Send("250 ok\r\n250 "+f+"\r\n")), steps(smtptest.Expect(greeting), smtptest.Say("NOOP"))},
			"EHLO reply": {steps(smtptest.Say(greeting), smtptest.Expect("EHLO c"), smtptest.Send("250-m "+f+"\r\n250 X"+f+"\r\n")),
				steps(smtptest.Expect(greeting), smtptest.Say("EHLO c"))},
		} {
			t.Run(fmt.Sprintf("%q in %s", f, name), func(t *testing.T) {
				t.Parallel()
				rec := recorded(t, test.server, test.client, func(r *proxy.Route) { r.Rules = compile(t, "standard") })
				for _, log := range []string{rec.text.String(), rec.json.String()} {
					for line := range strings.Lines(log) {
						wantRecord(t, strings.TrimSuffix(line, "\n"))
					}
				}
			})
		}
	}
}

// wantRecord is one line of a log as slog begins it, without anything that is
// not to be printed.
func wantRecord(t *testing.T, line string) {
	t.Helper()
	if !strings.HasPrefix(line, "time=") && !strings.HasPrefix(line, `{"time":`) {
		t.Errorf("no record: %q", line)
	}
	if !utf8.ValidString(line) {
		t.Errorf("not UTF-8: %q", line)
	}
	for _, c := range line {
		if !unicode.IsPrint(c) {
			t.Errorf("%q in %q", c, line)
		}
	}
	if strings.Contains(line, ` msg="forged"`) || strings.Contains(line, ` forged="`) {
		t.Errorf("forged: %s", line)
	}
}
