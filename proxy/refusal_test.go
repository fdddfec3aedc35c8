package proxy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
)

// dialogue is both sides' steps of commands and their replies. A reply that begins
// with "us " is ours: the server hears nothing of the command.
func dialogue(greets string, exchanges ...string) (server, client []smtptest.Step) {
	server, client = steps(smtptest.Say(greets)), steps(smtptest.Expect(greets))
	for i := 0; i < len(exchanges); i += 2 {
		said := strings.Split(exchanges[i], "\r\n")
		reply, ours := strings.CutPrefix(exchanges[i+1], "us ")
		replies := strings.Split(reply, "\r\n")
		client = append(client, smtptest.Say(said...), smtptest.Expect(replies...))
		if !ours {
			server = append(server, smtptest.Expect(said...), smtptest.Say(replies...))
		}
	}
	return server, client
}

func TestASessionWhoseMailWasRefusedEndsSo(t *testing.T) {
	const (
		mail, rcpt, data, dot = "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA", "text\r\n."
		other, ehlo           = "RCPT TO:<c@example.net>", "EHLO c.example.com"
		ok, goOn              = "250 2.0.0 ok", "354 go on"
	)
	accepted := []string{mail, ok, rcpt, ok, data, goOn, dot, ok}
	all := func(lists ...[]string) []string { return slices.Concat(lists...) }
	type row struct {
		greets    string
		exchanges []string
		quits     bool
		want      string // outcome; verb, code and text of the refusal
		change    func(*proxy.Route)
	}
	for name, test := range map[string]row{
		"a name that is refused twice": {greeting, []string{"EHLO sub2.", "501 5.5.4 bad name", "EHLO sub2.", "501 5.5.4 again"}, true, "refused EHLO 501 5.5.4 again", nil},
		"EHLO, then HELO":              {greeting, all([]string{ehlo, "502 5.5.1 what"}, []string{"HELO c.example.com", ok}), true, "ok", nil},
		"EHLO and HELO":                {greeting, []string{ehlo, "502 5.5.1 what", "HELO c.example.com", "504 no"}, true, "refused HELO 504 no", nil},
		"the greeting":                 {"554 5.7.1 go away", nil, true, "refused greeting 554 5.7.1 go away", nil},
		"the greeting, and no QUIT":    {"554 5.7.1 go away", nil, false, "refused greeting 554 5.7.1 go away", nil},
		"AUTH":                         {greeting, []string{ehlo, ok, "AUTH PLAIN AGEAYg==", "535 5.7.8 no such user"}, true, "refused AUTH 535 5.7.8 no such user", nil},
		"AUTH that echoes":             {greeting, []string{ehlo, ok, "AUTH PLAIN AGEAYg==", "535 5.7.8 not AGEAYg=="}, true, "refused AUTH 535 ", nil},
		"AUTH, and so MAIL":            {greeting, []string{ehlo, ok, "AUTH PLAIN AGEAYg==", "535 5.7.8 no", mail, "530 5.7.0 Authentication required"}, true, "refused AUTH 535 5.7.8 no", nil},
		"AUTH, and so MAIL, RSET":      {greeting, []string{ehlo, ok, "AUTH PLAIN AGEAYg==", "535 5.7.8 no", mail, "530 5.7.0 Authentication required", "RSET", ok}, true, "refused AUTH 535 5.7.8 no", nil},
		"AUTH and MAIL, then well":     {greeting, all([]string{ehlo, ok, "AUTH PLAIN AGEAYg==", "535 no", mail, "530 first AUTH", "RSET", ok, "AUTH PLAIN AGEAYw==", "235 yes"}, accepted), true, "ok", nil},
		"AUTH, and MAIL is not you":    {greeting, []string{ehlo, ok, "AUTH PLAIN AGEAYg==", "535 no", mail, "550 5.7.1 not you"}, true, "refused MAIL 550 5.7.1 not you", nil},
		"AUTH, then well":              {greeting, []string{ehlo, ok, "AUTH PLAIN AGEAYg==", "535 no", "AUTH PLAIN AGEAYw==", "235 yes"}, true, "ok", nil},
		"AUTH, then XAUTH":             {greeting, []string{ehlo, ok, "XAUTH NTLM AGEAYg==", "500 what", "AUTH NTLM AGEAYw==", "235 yes"}, true, "ok", nil},
		"AUTH, then without":           {greeting, all([]string{ehlo, ok, "AUTH PLAIN AGEAYg==", "535 no"}, accepted), true, "ok", nil},
		"STARTTLS":                     {greeting, []string{ehlo, ok, "STARTTLS", "454 4.7.0 not today"}, true, "refused STARTTLS 454 4.7.0 not today", nil},
		"STARTTLS, then without":       {greeting, all([]string{ehlo, ok, "STARTTLS", "454 4.7.0 not today"}, accepted), true, "ok", nil},
		"STARTTLS, then EHLO again":    {greeting, []string{ehlo, ok, "STARTTLS", "454 not today", ehlo, ok}, true, "refused STARTTLS 454 not today", nil},
		"MAIL":                         {greeting, []string{ehlo, ok, mail, "505 5.7.1 first STARTTLS"}, true, "refused MAIL 505 5.7.1 first STARTTLS", nil},
		"MAIL, and no QUIT":            {greeting, []string{ehlo, ok, mail, "550 5.7.1 not you"}, false, "refused MAIL 550 5.7.1 not you", nil},
		"MAIL, then in another form":   {greeting, all([]string{ehlo, ok, mail + " SMTPUTF8", "555 what"}, accepted), true, "ok", nil},
		"MAIL, then another mail":      {greeting, all([]string{ehlo, ok, mail, "550 not you", "RSET", ok}, accepted), true, "refused MAIL 550 not you", nil},
		"MAIL, after AUTH well":        {greeting, all([]string{ehlo, ok, mail, "550 5.7.1 who are you", "RSET", ok, "AUTH PLAIN AGEAYg==", "235 yes"}, accepted), true, "ok", nil},
		"MAIL 530, RSET, well":         {greeting, all([]string{ehlo, ok, mail, "530 5.7.0 first AUTH", "RSET", ok}, accepted), true, "ok", nil},
		"all that follows MAIL":        {greeting, []string{ehlo, ok, mail, "451 4.3.0 later", rcpt, "503 5.5.1 MAIL first", data, "503 5.5.1 RCPT first"}, true, "refused MAIL 451 4.3.0 later", nil},
		"RCPT":                         {greeting, []string{ehlo, ok, mail, ok, rcpt, "550 5.1.1 no such user"}, true, "refused RCPT 550 5.1.1 no such user", nil},
		"RCPT, and no QUIT":            {greeting, []string{ehlo, ok, mail, ok, rcpt, "550 5.1.1 no such user"}, false, "refused RCPT 550 5.1.1 no such user", nil},
		"RCPT, for now":                {greeting, []string{ehlo, ok, mail, ok, rcpt, "450 4.2.0 greylisted"}, true, "refused RCPT 450 4.2.0 greylisted", nil},
		"RCPT, and so DATA":            {greeting, []string{ehlo, ok, mail, ok, rcpt, "550 5.1.1 no such user", data, "554 5.5.1 no valid recipients"}, true, "refused RCPT 550 5.1.1 no such user", nil},
		"one recipient of two":         {greeting, []string{ehlo, ok, mail, ok, other, "550 5.1.1 no such user", rcpt, ok, data, goOn, dot, ok}, true, "ok RCPT 550 5.1.1 no such user", nil},
		"one of two, then given up":    {greeting, []string{ehlo, ok, mail, ok, other, "550 5.1.1 no such user", rcpt, ok, "RSET", ok}, true, "refused RCPT 550 5.1.1 no such user", nil},
		"RCPT, then another mail":      {greeting, all([]string{ehlo, ok, mail, ok, rcpt, "550 no"}, []string{"RSET", ok}, accepted), true, "refused RCPT 550 no", nil},
		"RCPT, then the rest":          {greeting, all([]string{ehlo, ok, mail, ok, rcpt, ok, other, "452 4.5.3 too many", data, goOn, dot, ok}, accepted), true, "ok RCPT 452 4.5.3 too many", nil},
		"DATA":                         {greeting, []string{ehlo, ok, mail, ok, rcpt, ok, data, "451 4.3.0 disk full"}, true, "refused DATA 451 4.3.0 disk full", nil},
		"DATA, one recipient was not":  {greeting, []string{ehlo, ok, mail, ok, other, "550 no", rcpt, ok, data, "451 4.3.0 disk full"}, true, "refused DATA 451 4.3.0 disk full", nil},
		"the message":                  {greeting, []string{ehlo, ok, mail, ok, rcpt, ok, data, goOn, dot, "554 5.7.1 spam"}, true, "refused end-of-data 554 5.7.1 spam", nil},
		"the message, and no QUIT":     {greeting, []string{ehlo, ok, mail, ok, rcpt, ok, data, goOn, dot, "554 5.7.1 spam"}, false, "refused end-of-data 554 5.7.1 spam", nil},
		"the message, then another":    {greeting, all([]string{ehlo, ok, mail, ok, rcpt, ok, data, goOn, dot, "554-5.7.1 spam\r\n554 5.7.1 really"}, accepted), true, "refused end-of-data 554 5.7.1 spam", nil},
		"a mail before, and then MAIL": {greeting, all([]string{ehlo, ok}, accepted, []string{mail, "452 4.3.1 full"}), true, "refused MAIL 452 4.3.1 full", nil},
		"too large, as we say":         {greeting, []string{ehlo, ok, mail + " SIZE=11", "us 552 5.3.4 a message may have 10 octets here"}, true, "refused MAIL 552 5.3.4 a message may have 10 octets here", func(r *proxy.Route) { r.Limits.MessageSize = 10 }},
		"BDAT":                         {greeting, []string{ehlo, ok, mail, ok, rcpt, ok, "BDAT 0 LAST", "us 502 5.5.1 BDAT was not offered"}, true, "refused BDAT 502 5.5.1 BDAT was not offered", nil},
		"MAIL 530, then opaque":        {greeting, []string{ehlo, ok, mail, "530 5.7.0 Must issue a STARTTLS command first", "STARTTLS", "220 go"}, false, "opaque", nil},
		"small talk":                   {greeting, []string{ehlo, ok, "NOOP", "500 no", "VRFY b", "252 maybe", "HELP", "502 no", "EXPN l", "550 no", "XYZZY", "500 what", "ETRN x", "458 no", "RSET", "451 no"}, true, "ok", nil},
		"nothing":                      {greeting, accepted, true, "ok", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := dialogue(test.greets, test.exchanges...)
			if test.quits {
				server, client = append(server, quitServer...), append(client, quitClient...)
			}
			e := endOf(t, server, client, test.change)
			got := e.Outcome
			if e.Refused != "" {
				got += fmt.Sprintf(" %s %d %s", e.Refused, e.Code, e.Text)
			}
			if got != test.want {
				t.Errorf("ended %q, want %q", got, test.want)
			}
			if test.quits && e.While != "" {
				t.Errorf("it came to its own end, and was %s", e.While)
			}
			if level := map[bool]string{true: "WARN", false: "INFO"}[e.Outcome == "refused"]; e.Level != level {
				t.Errorf("level %s, want %s", e.Level, level)
			}
		})
	}
}

func TestTheLogNamesTheKeyThatWouldAllowARefusedLine(t *testing.T) {
	const tooLong, badSASL = "500 5.5.2 line too long", "500 5.5.2 a SASL line ends with CRLF and has no bare CR, bare LF or NUL in it"
	long := strings.Repeat("x", 5000)
	bareLF := steps(smtptest.Send("MAIL FROM:<>\n"), smtptest.Expect(notALine))
	asks := steps(smtptest.Expect("AUTH PLAIN"), smtptest.Say("334 "))
	asked := steps(smtptest.Say("AUTH PLAIN"), smtptest.Expect("334 "))
	passes, passed := through(len(exchanges))
	for name, test := range map[string]struct {
		server, client []smtptest.Step // behind EHLO
		change         func(*proxy.Route)
		outcome, err   string // what is in err
	}{
		"LF alone":              {nil, bareLF, nil, "refused", "ends with LF alone; lf_ends would allow it"},
		"LF alone, QUIT":        {quitServer, list(bareLF, quitClient), nil, "refused", "lf_ends would allow it"},
		"too long":              {nil, steps(smtptest.Say("MAIL FROM:<"+long+">"), smtptest.Expect(tooLong)), nil, "refused", "a command has over 4096 octets; a larger limits.command_line would allow it"},
		"too long, own limit":   {nil, steps(smtptest.Say("MAIL FROM:<"+long[:1000]+">"), smtptest.Expect(tooLong)), func(r *proxy.Route) { r.Limits.CommandLine = 600 }, "refused", "over 600 octets"},
		"NUL":                   {nil, steps(smtptest.Send("MAIL\x00FROM:<>\r\n"), smtptest.Expect(notALine)), nil, "refused", "which nothing allows"},
		"too many":              {nil, append(bareLF, smtptest.Send("x\n"), smtptest.Expect("421 4.7.0 too many errors")), func(r *proxy.Route) { r.Limits.Errors = 1 }, "client-protocol", "421 4.7.0 too many errors; before that a line of the client ends with LF alone; lf_ends"},
		"a SASL line, too long": {asks, append(asked, smtptest.Say(long+long+long), smtptest.Expect("500 5.5.6 SASL line too long")), nil, "client-protocol", "a SASL line has over 12288 octets; a larger limits.sasl_line would allow it"},
		"a SASL line, LF alone": {asks, append(asked, smtptest.Send("AGEAYg==\n"), smtptest.Expect(badSASL)), nil, "client-protocol", "lf_ends would allow it"},
		"no mail":               {nil, steps(smtptest.Send("NOOP\n"), smtptest.Expect(notALine)), nil, "client-lost", "lf_ends would allow it"},
		"no mail, QUIT":         {quitServer, list(steps(smtptest.Send("NOOP\n"), smtptest.Expect(notALine)), quitClient), nil, "ok", ""},
		"and then well":         {passes[3:], list(bareLF, passed[3:]), nil, "client-lost", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := through(1)
			e := endOf(t, list(server, test.server), list(client, test.client), test.change)
			if e.Outcome != test.outcome || !strings.Contains(e.Err, test.err) || test.err == "" && e.Err != "" {
				t.Errorf("%+v, want %s, %q", e, test.outcome, test.err)
			}
			if e.Outcome == "refused" && (e.Refused != "MAIL" || e.Code != 500 || e.Text == "") {
				t.Errorf("refused is %q, code %d, text %q", e.Refused, e.Code, e.Text)
			}
		})
	}
}
