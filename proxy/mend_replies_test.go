package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite/heal"
)

// standard puts the standard rules in force.
func standard(t *testing.T) func(*proxy.Route) {
	t.Helper()
	rules, errs := heal.Compile([]string{"standard"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	return func(r *proxy.Route) { r.Rules = rules }
}

// whole is a session in which a server says what it ought to.
var whole = [][2]string{
	{"", "220 mail.example.com ESMTP"},
	{"EHLO client.example.com", "250-mail.example.com\r\n250 SIZE 1000"},
	{"MAIL FROM:<a@example.com>", "250 2.1.0 ok"},
	{"RCPT TO:<b@example.net>", "250 2.1.5 ok"},
	{"DATA", "354 go ahead"},
	{"text\r\n.", "250 2.0.0 taken"},
	{"NOOP", "250-a\r\n250 b"},
	{"XPING", "250 pong"}, // a verb that we do not know
	{"QUIT", "221 2.0.0 bye"},
}

// How what a server sends reaches us.
const (
	together = iota // in one segment
	byOctet         // in a segment for each octet
	late            // the last octets only once the client has the reply
)

// playMended plays the dialogue. At one place the server sends other octets, and
// behind them some more.
func playMended(t *testing.T, place int, sends, behind string, hears []string, how int) *counts {
	t.Helper()
	var server, client []smtptest.Step
	heard, sent := make(chan struct{}), make(chan struct{})
	for i, e := range whole {
		if e[0] != "" {
			said := strings.Split(e[0], "\r\n")
			server, client = append(server, smtptest.Expect(said...)), append(client, smtptest.Say(said...))
		}
		if i != place {
			server = append(server, smtptest.Send(e[1]+"\r\n"))
			client = append(client, smtptest.Expect(strings.Split(e[1], "\r\n")...))
			continue
		}
		switch how {
		case together:
			server = append(server, smtptest.Send(sends+behind))
		case byOctet:
			for _, c := range []byte(sends + behind) {
				server = append(server, smtptest.Send(string([]byte{c})))
			}
		case late:
			server = append(server, smtptest.Send(sends), smtptest.Pause(func() { <-heard }), smtptest.Send(behind),
				smtptest.Pause(func() { close(sent) }))
		}
		client = append(client, smtptest.Expect(hears...))
		if how == late {
			client = append(client, smtptest.Pause(func() { close(heard); <-sent }))
		}
	}
	client = append(client, smtptest.ExpectEnd())
	return play(t, server, client, standard(t))
}

// linesOf are what the client hears of a reply that is as it ought to be.
func linesOf(reply string) []string { return strings.Split(reply, "\r\n") }

// Nothing that carries no reply, and no second yes, keeps a message from its
// receiver.
func TestWhatCarriesNoReplyIsDropped(t *testing.T) {
	for _, c := range []struct{ rule, before, behind string }{
		{"empty-reply-lines", "\r\n", ""},
		{"empty-reply-lines", "\n", ""},
		{"empty-reply-lines", " \t\r\r\n\r\n", ""},
		{"empty-reply-lines", "some text\r\n", ""},
		{"empty-reply-lines", "", "\r\n"},
		{"empty-reply-lines", "", "\n\n"},
		{"empty-reply-lines", "", "  \r\n"},
		{"empty-reply-lines", "\r\n", "\r\n"},
		{"second-replies", "", "250 Ok 1-2-3\r\n"},
		{"second-replies", "", "250-Ok\r\n250 1-2-3\r\n"},
		{"second-replies", "", "\r\n250 Ok\n200 ok\r\n"},
	} {
		for place, e := range whole {
			positive := e[1][0] == '2'
			switch {
			case c.rule == "second-replies" && (!positive || place < 2), e[0] == "QUIT" && c.behind != "":
				continue
			}
			for how := together; how <= late; how++ {
				if how == late && (c.behind == "" || e[0] == "DATA") || how == byOctet && len(c.before) == 0 {
					continue
				}
				t.Run(fmt.Sprintf("%q before and %q behind %q %d", c.before, c.behind, e[1], how), func(t *testing.T) {
					n := playMended(t, place, c.before+e[1]+"\r\n", c.behind, linesOf(e[1]), how)
					wantEnd(t, n, "ok")
					wantCount(t, n, "message accepted", 1)
					if n.get("rule "+c.rule) == 0 {
						t.Errorf("%s is not counted", c.rule)
					}
				})
			}
		}
	}
}

func TestAnIllFormedReplyIsMended(t *testing.T) {
	each := func(f func(string) string) func(string) (string, []string) {
		return func(reply string) (string, []string) { return f(reply + "\r\n"), linesOf(reply) }
	}
	replace := func(old, with string) func(string) (string, []string) {
		return each(func(s string) string { return strings.ReplaceAll(s, old, with) })
	}
	for _, c := range []struct {
		rule string
		does func(reply string) (sends string, hears []string)
	}{
		{"reply-line-ends", replace("\r\n", "\n")},
		{"reply-line-ends", replace("\r\n", "\r\r\n")},
		{"reply-line-ends", replace("\r\n", "\x00\r\n")},
		{"reply-line-ends", each(func(s string) string { return s[:len(s)-2] + "\n" })},
		{"reply-line-ends", each(func(s string) string { return strings.Replace(s, "\r\n", "\n", 1) })},
		{"reply-separators", each(func(s string) string {
			at := strings.LastIndexByte(s[:len(s)-2], '\n') + 1
			return s[:at+3] + "\t" + s[at+4:]
		})},
		{"reply-separators", each(func(s string) string {
			at := strings.LastIndexByte(s[:len(s)-2], '\n') + 1
			return s[:at+3] + ":" + s[at+4:]
		})},
		{"reply-separators", each(func(s string) string { return " " + s })},
		{"reply-separators", func(reply string) (string, []string) {
			at := strings.LastIndexByte(reply, '\n') + 1
			hears := reply[:at+4] + "Text"
			return reply[:at+3] + "Text\r\n", linesOf(hears)
		}},
		{"reply-line-ends", func(reply string) (string, []string) { // with TABs
			at := strings.LastIndexByte(reply, '\n') + 1
			return strings.ReplaceAll(reply[:at+3]+"\t"+reply[at+4:]+"\r\n", "\r\n", "\n"), linesOf(reply)
		}},
	} {
		for place, e := range whole {
			sends, hears := c.does(e[1])
			if place == 0 && strings.HasSuffix(hears[0], "Text") {
				hears[0] = "220 Text" // advertise-esmtp
			}
			for how := together; how <= byOctet; how++ {
				t.Run(fmt.Sprintf("%q %d", sends, how), func(t *testing.T) {
					n := playMended(t, place, sends, "", hears, how)
					wantEnd(t, n, "ok")
					if n.get("rule "+c.rule) == 0 {
						t.Errorf("%s is not counted", c.rule)
					}
				})
			}
		}
	}
}

func TestRepliesOfSeveralKindsAreMended(t *testing.T) {
	long := strings.TrimSpace(strings.Repeat("word ", 1000))
	words := func(code, sep string, n int) string {
		return code + sep + strings.TrimSpace(strings.Repeat("word ", n))
	}
	for _, c := range []struct {
		place int
		sends string
		hears []string
	}{
		{1, "250-mail.example.com\r\n240-DSN\r\n250 SIZE\r\n", []string{"250-mail.example.com", "250-DSN", "250 SIZE"}},
		{2, "240-a\n250 b\n", []string{"250-a", "250 b"}},
		{4, "250-wait\r\n354 go\r\n", []string{"354 wait go"}},
		{1, "250-mail.example.com\r\n\r\n250 SIZE\r\n", []string{"250-mail.example.com", "250 SIZE"}},
		{1, "250-mail.example.com\r\nsome text\r\n250 SIZE\r\n", []string{"250-mail.example.com", "250 SIZE"}},
		{1, "250 mail.example.com\r\n250 8BITMIME\r\n250 SIZE\r\n", []string{"250-mail.example.com", "250-8BITMIME", "250 SIZE"}},
		{1, "250 mail.example.com\n250 8BITMIME\n250\tSIZE\n", []string{"250-mail.example.com", "250-8BITMIME", "250 SIZE"}},
		{1, "250-mail.example.com\r\n250 8BITMIME\r\n\r\n250 SIZE\r\n", []string{"250-mail.example.com", "250-8BITMIME", "250 SIZE"}},
		{0, "220 mail.example.com ESMTP\r\n220 ready\r\n", []string{"220-mail.example.com ESMTP", "220 ready"}},
		{2, "250\r\n", []string{"250 OK"}},
		{4, "354\n", []string{"354 go ahead"}},
		{1, "250-mail.example.com\r\n250\r\n", []string{"250-mail.example.com", "250 OK"}},
		{5, "250 2.0.0 " + long + "\r\n", []string{"250-2.0.0 " + strings.TrimSpace(strings.Repeat("word ", 99)), "..."}},
		{5, "250 " + strings.Repeat("x", 60000) + "\r\n", []string{"250-" + strings.Repeat("x", 504), "..."}},
		{5, "250 2.2." + strings.Repeat("2", 5000) + " x\r\n", []string{"250-2.2." + strings.Repeat("2", 500), "..."}},
		{1, "250-mail.example.com\r\n" + words("250", "-HELP ", 900) + "\r\n250 SIZE\r\n",
			[]string{"250-mail.example.com", words("250", "-HELP ", 100), "250 SIZE"}},
	} {
		t.Run(fmt.Sprintf("%.60q", c.sends), func(t *testing.T) {
			if c.hears[len(c.hears)-1] == "..." {
				c.hears = cutReply(c.sends, c.hears[0])
			}
			wantEnd(t, playMended(t, c.place, c.sends, "", c.hears, together), "ok")
		})
	}
}

// cutReply is what the client hears of a long reply, whose first line is given.
func cutReply(sends, first string) (lines []string) {
	code, text := sends[:3], strings.TrimSuffix(sends[4:], "\r\n")
	status, _, _ := strings.Cut(text, " ")
	if !strings.HasPrefix(status, "2.") || len(status) > 9 {
		status = ""
	}
	text = strings.TrimSpace(strings.TrimPrefix(text, status))
	piece := strings.TrimSpace(strings.TrimPrefix(first[4:], status))
	if status != "" {
		status += " "
	}
	for len(text) > len(piece) {
		lines = append(lines, code+"-"+status+text[:len(piece)])
		text = strings.TrimPrefix(text[len(piece):], " ")
	}
	return append(lines, code+" "+status+text)
}

// A code that no reply of SMTP has is no second reply.
func TestAReplyWithAnotherCodeBreaksNoRule(t *testing.T) {
	server, client := through(0)
	server = append(server, smtptest.Expect("NOOP"), smtptest.Send("250 ok\r\n150 wait\r\n"))
	client = append(client, smtptest.Say("NOOP"), smtptest.Expect("250 ok", "421 4.4.2 connection to server lost"), smtptest.ExpectEnd())
	c := play(t, server, client, standard(t))
	if n := c.get("broken second-replies"); n > 0 {
		t.Errorf("the rule broke %d times", n)
	}
}
