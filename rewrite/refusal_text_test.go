package rewrite

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"
)

// toldText is a listener that keeps the text of the last reply, and a tracer that
// keeps the last line of the server's.
type toldText struct {
	kept
	text   string
	hidden bool
	traced string
}

func (l *toldText) Replied(_ Verb, _ int, text []byte) { l.text, l.hidden = string(text), text == nil }
func (l *toldText) Event(string)                       {}
func (l *toldText) Exchanged(side byte, _, got []string, _ Causes) {
	if side == 'S' && len(got) > 0 {
		l.traced = got[0]
	}
}

func TestTheTextOfARefusedAUTHIsToldUnlessItRepeatsACredential(t *testing.T) {
	const secret = "Correct/Horse&Battery=7?"
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	plain, long := encode("\x00anna@example.com\x00"+secret), encode(strings.Repeat(secret, 400))
	for name, test := range map[string]struct {
		says  []string // the first is the command; each but the last is answered by 334
		reply string
		told  string // "" if the text is hidden
	}{
		"no credential":               {[]string{"AUTH PLAIN " + plain}, "535 5.7.8 no such user", "5.7.8 no such user"},
		"500 with a reason":           {[]string{"AUTH PLAIN " + plain}, "500 5.5.6 Line too long", "5.5.6 Line too long"},
		"the name of the mechanism":   {[]string{"AUTH PLAIN " + plain}, "504 5.5.4 PLAIN is not supported", "5.5.4 PLAIN is not supported"},
		"the domain of the user":      {[]string{"AUTH PLAIN " + plain}, "535 mail.example.com: no", "mail.example.com: no"},
		"no argument":                 {[]string{"AUTH NTLM"}, "504 NTLM is not known here", "NTLM is not known here"},
		"no text":                     {[]string{"AUTH PLAIN " + plain}, "535", ""},
		"the whole argument":          {[]string{"AUTH PLAIN " + plain}, "500 unrecognized: " + plain, ""},
		"the whole line, 535":         {[]string{"AUTH PLAIN " + plain}, "535 what is AUTH PLAIN " + plain, ""},
		"its beginning":               {[]string{"AUTH PLAIN " + plain}, "501 bad: " + plain[:7] + "...", ""},
		"its end, in capitals":        {[]string{"AUTH PLAIN " + plain}, "501 bad: " + strings.ToUpper(plain[20:]), ""},
		"the password":                {[]string{"AUTH PLAIN " + plain}, "535 wrong password " + secret, ""},
		"the user":                    {[]string{"AUTH PLAIN " + plain}, "535 anna@example.com has no account", ""},
		"a SASL line":                 {[]string{"AUTH LOGIN", encode("anna"), encode(secret)}, "535 not " + encode(secret), ""},
		"a SASL line before the last": {[]string{"AUTH LOGIN", encode("anna"), encode(secret)}, "535 not " + encode("anna"), ""},
		"a short password":            {[]string{"AUTH LOGIN", encode("anna"), "YQ=="}, "535 not yq==", ""},
		"no mechanism":                {[]string{"AUTH " + plain}, "504 what is " + plain, ""},
		"a colon":                     {[]string{"AUTH:" + plain}, "504 what is " + plain, ""},
		"a cancelled exchange":        {[]string{"AUTH LOGIN", "*"}, "501 5.7.0 * cancels it", "5.7.0 * cancels it"},
		"more than is kept":           {[]string{"AUTH LOGIN", long, long}, "535 no", ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := &toldText{}
			d := New(&Policy{}, netip.Addr{}, l)
			d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
			d.Command([]byte(test.says[0]+"\r\n"), false)
			for _, line := range test.says[1:] {
				d.Reply([]byte("334 \r\n"), false, false)
				d.SASL([]byte(line + "\r\n"))
			}
			d.Reply([]byte(test.reply+"\r\n"), false, false)
			hidden := test.told == "" && len(test.reply) > 3
			if l.text != test.told || l.hidden != hidden {
				t.Errorf("told %q (hidden: %v), want %q", l.text, l.hidden, test.told)
			}
			if shown := l.traced == test.reply; shown == hidden {
				t.Errorf("traced %q of %q", l.traced, test.reply)
			}
			if d.secrets != nil {
				t.Error("the credentials are kept behind the exchange")
			}
		})
	}
}

func TestTheListenerHearsTheFirstLineThatTheClientGets(t *testing.T) {
	rules := inForce(active{"greet", scope{}, Actions{Replies: SetOf(VerbGreeting), Reply: func(t *Turn) {
		t.Reply().Lines[0] = "mail.example.com ESMTP ready"
	}}})
	l := &toldText{}
	d := New(&Policy{Rules: rules, Hostname: "shim.example.com"}, netip.Addr{}, l)
	heard := func(want string) {
		t.Helper()
		if l.text != want {
			t.Errorf("told %q, want %q", l.text, want)
		}
	}
	d.Greeting([]byte("220 mail.example.com ready\r\n")) // the rule changes it
	heard("mail.example.com ESMTP ready")
	d.Command([]byte("EHLO client.example.com\r\n"), false)
	d.Reply([]byte("250-mail.example.com\r\n250 HELP\r\n"), false, false)
	heard("mail.example.com")
	d.Command([]byte("MAIL FROM:<a@example.com>\r\n"), false)
	d.Reply([]byte("550-5.7.1 first\r\n550 5.7.1 last\r\n"), false, false)
	heard("5.7.1 first")
	d.Command([]byte("XCLIENT x\r\n"), false) // we answer it
	heard("5.5.1 command not available here")
}

func TestAReplyThatRepeatsWhatARuleMadeOfACredentialIsNotTold(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString([]byte("\x00anna\x00secret"))
	rules := inForce(active{"login", scope{}, Actions{
		Commands: SetOf(VerbAUTH), Command: func(t *Turn) { t.Answer(Reply{334, []string{"VXNlcm5hbWU6"}}) },
		SASL: func(t *Turn) { t.SetLine("AUTH PLAIN " + secret) },
	}})
	for text, hidden := range map[string]bool{"what is " + secret: true, "Authentication failed": false} {
		l := &toldText{}
		d := New(&Policy{Rules: rules}, netip.Addr{}, l)
		d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
		d.Command([]byte("AUTH LOGIN\r\n"), false)
		d.SASL([]byte("YW5uYQ==\r\n"))
		d.Reply([]byte("535 "+text+"\r\n"), false, false)
		if l.hidden != hidden || strings.Contains(l.traced, text) == hidden {
			t.Errorf("%q: told %q, traced %q", text, l.text, l.traced)
		}
	}
}
