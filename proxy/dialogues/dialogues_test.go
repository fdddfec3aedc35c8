package dialogues_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"smtpshim/proxy/dialogues"
	"smtpshim/rewrite/transcript"
)

func read(t testing.TB, text string) (all []*dialogues.Dialogue) {
	t.Helper()
	err := dialogues.Read("log", strings.NewReader(text), func(d *dialogues.Dialogue) error { all = append(all, d); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// linesOf is a dialogue as a transcript has it.
func linesOf(d *dialogues.Dialogue) string {
	var b strings.Builder
	for _, l := range d.Dialogue {
		b.WriteString(l.String() + "\n")
	}
	return b.String()
}

// delivery is what most of the texts below tell.
const delivery = `S: 220 mail.example.com ESMTP
C: EHLO client.example.net
S: 250-mail.example.com
S: 250 SIZE
C: MAIL FROM:<a@example.net>
S: 250 2.1.0 Ok
C: RCPT TO:<b@example.com>
S: 550 5.1.1 no such user
C: RCPT TO:<c@example.com>
S: 250 2.1.5 Ok
C: DATA
S: 354 go on
~ message N bytes
S: 250 2.0.0 queued
C: QUIT
S: 221 2.0.0 Bye
`

func TestEachProgramTellsTheSame(t *testing.T) {
	for name, c := range map[string]struct {
		source dialogues.Source
		octets string
		text   string
	}{
		"swaks": {dialogues.Swaks, "14", `=== Trying mail.example.com:25...
=== Connected to mail.example.com.
<-  220 mail.example.com ESMTP
 -> EHLO client.example.net
<-  250-mail.example.com
<-  250 SIZE
 -> MAIL FROM:<a@example.net>
<-  250 2.1.0 Ok
 -> RCPT TO:<b@example.com>
<** 550 5.1.1 no such user
 -> RCPT TO:<c@example.com>
<-  250 2.1.5 Ok
 -> DATA
<-  354 go on
 -> Subject: x
 -> 
 -> .
<-  250 2.0.0 queued
 -> QUIT
<-  221 2.0.0 Bye
=== Connection closed with remote host.
`},
		"curl": {dialogues.Curl, "15", `*   Trying 192.0.2.1:25...
* Connected to mail.example.com (192.0.2.1) port 25 (#0)
< 220 mail.example.com ESMTP
> EHLO client.example.net
< 250-mail.example.com
< 250 SIZE
> MAIL FROM:<a@example.net>
< 250 2.1.0 Ok
> RCPT TO:<b@example.com>
< 550 5.1.1 no such user
> RCPT TO:<c@example.com>
< 250 2.1.5 Ok
> DATA
< 354 go on
} [15 bytes data]
< 250 2.0.0 queued
> QUIT
< 221 2.0.0 Bye
* Closing connection 0
`},
		"smtplib": {dialogues.Python, "14", `connect: ('mail.example.com', 25)
connect: to ('mail.example.com', 25) None
reply: b'220 mail.example.com ESMTP\r\n'
reply: retcode (220); Msg: b'mail.example.com ESMTP'
connect: b'mail.example.com ESMTP'
send: 'EHLO client.example.net\r\n'
reply: b'250-mail.example.com\r\n'
reply: b'250 SIZE\r\n'
send: 'MAIL FROM:<a@example.net>\r\n'
reply: b'250 2.1.0 Ok\r\n'
send: 'RCPT TO:<b@example.com>\r\n'
reply: b'550 5.1.1 no such user\r\n'
send: 'RCPT TO:<c@example.com>\r\n'
reply: b"250 2.1.5 Ok\r\n"
send: 'DATA\r\n'
reply: b'354 go on\r\n'
data: (354, b'go on')
send: b'Subject: x\r\n\r\n.\r\n'
reply: b'250 2.0.0 queued\r\n'
send: 'QUIT\r\n'
reply: b'221 2.0.0 Bye\r\n'
`},
		"sendmail -v": {dialogues.Sendmail, "0", `b@example.com... Connecting to mail.example.com. via esmtp...
220 mail.example.com ESMTP
>>> EHLO client.example.net
250-mail.example.com
250 SIZE
>>> MAIL FROM:<a@example.net>
250 2.1.0 Ok
>>> RCPT TO:<b@example.com>
550 5.1.1 no such user
>>> RCPT TO:<c@example.com>
250 2.1.5 Ok
>>> DATA
354 go on
>>> .
250 2.0.0 queued
c@example.com... Sent (2.0.0 queued)
Closing connection to mail.example.com.
>>> QUIT
221 2.0.0 Bye
`},
		"sendmail -X, of a server": {dialogues.Sendmail, "14", `04711 >>> 220 mail.example.com ESMTP
04711 <<< EHLO client.example.net
04711 >>> 250-mail.example.com
04711 >>> 250 SIZE
04711 <<< MAIL FROM:<a@example.net>
04711 >>> 250 2.1.0 Ok
04711 <<< RCPT TO:<b@example.com>
04711 >>> 550 5.1.1 no such user
04711 <<< RCPT TO:<c@example.com>
04711 >>> 250 2.1.5 Ok
04711 <<< DATA
04711 >>> 354 go on
04711 <<< Subject: x
04711 <<< 
04711 <<< .
04711 >>> 250 2.0.0 queued
04711 <<< QUIT
04711 >>> 221 2.0.0 Bye
`},
		"Exim -v": {dialogues.Exim, "0", `delivering 1xXiXs-0006ZM-2J
Connecting to mail.example.com [192.0.2.1]:25 ...  connected
  SMTP<< 220 mail.example.com ESMTP
  SMTP>> EHLO client.example.net
  SMTP<< 250-mail.example.com
         250 SIZE
  SMTP>> MAIL FROM:<a@example.net>
  SMTP<< 250 2.1.0 Ok
  SMTP>> RCPT TO:<b@example.com>
  SMTP<< 550 5.1.1 no such user
  SMTP>> RCPT TO:<c@example.com>
  SMTP<< 250 2.1.5 Ok
  SMTP>> DATA
  SMTP<< 354 go on
  SMTP>> writing message and terminating "."
  SMTP<< 250 2.0.0 queued
  SMTP>> QUIT
  SMTP<< 221 2.0.0 Bye
  SMTP(close)>>
LOG: MAIN
`},
		"Postfix as a server": {dialogues.Postfix, "0", prefixed("Nov 29 17:18:32 mail postfix/submission/smtpd[25079]: ", `connect from client[192.0.2.7]
> client[192.0.2.7]: 220 mail.example.com ESMTP
< client[192.0.2.7]: EHLO client.example.net
match_list_match: client: no match
> client[192.0.2.7]: 250-mail.example.com
> client[192.0.2.7]: 250 SIZE
< client[192.0.2.7]: MAIL FROM:<a@example.net>
> client[192.0.2.7]: 250 2.1.0 Ok
< client[192.0.2.7]: RCPT TO:<b@example.com>
>>> START Recipient address RESTRICTIONS <<<
> client[192.0.2.7]: 550 5.1.1 no such user
< client[192.0.2.7]: RCPT TO:<c@example.com>
> client[192.0.2.7]: 250 2.1.5 Ok
< client[192.0.2.7]: DATA
> client[192.0.2.7]: 354 go on
> client[192.0.2.7]: 250 2.0.0 queued
< client[192.0.2.7]: QUIT
> client[192.0.2.7]: 221 2.0.0 Bye
disconnect from client[192.0.2.7] ehlo=1 mail=1`)},
		"Postfix to its postmaster": {dialogues.Postfix, "0", `Transcript of session follows.

 Out: 220 mail.example.com ESMTP
 In:  EHLO client.example.net
 Out: 250-mail.example.com
 Out: 250 SIZE
 In:  MAIL FROM:<a@example.net>
 Out: 250 2.1.0 Ok
 In:  RCPT TO:<b@example.com>
 Out: 550 5.1.1 no such user
 In:  RCPT TO:<c@example.com>
 Out: 250 2.1.5 Ok
 In:  DATA
 Out: 354 go on
 Out: 250 2.0.0 queued
 In:  QUIT
 Out: 221 2.0.0 Bye
`},
		"Exchange, SMTP Receive": {dialogues.Exchange, "0", "#Software: Microsoft Exchange Server\r\n#Fields: date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context\r\n" +
			exchange("+,,", ">,220 mail.example.com ESMTP,", "<,EHLO client.example.net,", ">,250-mail.example.com,", ">,250 SIZE,", "<,MAIL FROM:<a@example.net>,", "*,08D0;1,receiving message",
				">,250 2.1.0 Ok,", "<,RCPT TO:<b@example.com>,", ">,550 5.1.1 no such user,", "<,RCPT TO:<c@example.com>,", ">,\"250 2.1.5 Ok\",", "<,DATA,", ">,354 go on,", ">,250 2.0.0 queued,",
				"<,QUIT,", ">,221 2.0.0 Bye,", "-,,Local")},
		"JavaMail": {dialogues.JavaMail, "17", `DEBUG: setDebug: JavaMail version 1.6.2
DEBUG SMTP: useEhlo true, useAuth false
DEBUG SMTP: trying to connect to host "mail.example.com", port 25, isSSL false
220 mail.example.com ESMTP
DEBUG SMTP: connected to host "mail.example.com", port: 25
EHLO client.example.net
250-mail.example.com
250 SIZE
DEBUG SMTP: Found extension "SIZE", arg ""
DEBUG SMTP: use8bit false
MAIL FROM:<a@example.net>
250 2.1.0 Ok
RCPT TO:<b@example.com>
550 5.1.1 no such user
RCPT TO:<c@example.com>
250 2.1.5 Ok
DEBUG SMTP: Verified Addresses
DEBUG SMTP:   c@example.com
an application writes this
DATA
354 go on
> QUIT

250 x
.
250 2.0.0 queued
DEBUG SMTP: message successfully delivered to mail server
QUIT
221 2.0.0 Bye
250 of the application
`},
		"IIS, as a client": {dialogues.IIS, "0", "#Software: Microsoft Internet Information Services 7.0\r\n#Version: 1.0\r\n" +
			"#Fields: date time c-ip cs-username s-sitename s-computername s-ip s-port cs-method cs-uri-stem cs-uri-query sc-status sc-win32-status sc-bytes cs-bytes time-taken cs-version\r\n" +
			iis(outbound, "Response - - 220+mail.example.com+ESMTP", "Command EHLO - client.example.net", "Response - - 250-mail.example.com", "Command MAIL - FROM:<a@example.net>",
				"Response - - 250+2.1.0+Ok", "Command RCPT - TO:<b@example.com>", "Response - - 550+5.1.1+no+such+user", "Command RCPT - TO:<c@example.com>", "Response - - 250+2.1.5+Ok",
				"Command DATA - -", "Response - - 354+go+on", "Response - - 250+2.0.0+queued", "Command QUIT - -", "Response - - 221+2.0.0+Bye")},
		"text": {dialogues.Plain, "14", strings.ReplaceAll(delivery, "~ message N bytes\n", "C: Subject: x\nC: \nC: .\n")},
	} {
		t.Run(name, func(t *testing.T) {
			all := read(t, c.text)
			if len(all) != 1 {
				t.Fatalf("there are %d dialogues", len(all))
			}
			d := all[0]
			want := strings.ReplaceAll(delivery, "message N", "message "+c.octets)
			if c.source == dialogues.IIS { // it logs one line of each reply
				want = strings.ReplaceAll(want, "S: 250-mail.example.com\nS: 250 SIZE\n", "S: 250 mail.example.com\n")
			}
			if got := linesOf(d); got != want || d.Source != c.source || !d.Greeted || d.InTLS || d.Cut {
				t.Errorf("it is of %s, greeted %v, in TLS %v, cut %v:\n%s", d.Source, d.Greeted, d.InTLS, d.Cut, got)
			}
		})
	}
}

// prefixed is a text with the same before each line.
func prefixed(prefix, text string) string {
	return prefix + strings.ReplaceAll(text, "\n", "\n"+prefix) + "\n"
}

// exchange is a protocol log with these events, with data and context.
func exchange(events ...string) string {
	var b strings.Builder
	for i, e := range events {
		b.WriteString("2026-11-29T17:18:32.000Z,MAIL\\Default,08D0," + string(rune('0'+i%10)) + ",192.0.2.1:25,192.0.2.7:4711," + e + "\r\n")
	}
	return b.String()
}

// outbound is what IIS logs of a session with a server, before command or reply.
const outbound = "2026-11-20 10:00:00 192.0.2.1 OutboundConnection% SMTPSVC1 MAIL - 25 %"

// iis is a W3C log with these lines, each in place of the percent signs of a form.
func iis(form string, lines ...string) string {
	var b strings.Builder
	for _, line := range lines {
		first, rest, _ := strings.Cut(line, " ")
		b.WriteString(strings.Replace(strings.Replace(form, "%", first, 1), "%", rest, 1) + " 0 0 4 0 469 SMTP\r\n")
	}
	return b.String()
}

func TestWhatIsSaidInsideTLSIsTheDialogue(t *testing.T) {
	all := read(t, `=== Connected to mail.example.com.
<-  220 mail.example.com ESMTP
 -> EHLO client.example.net
<-  250-mail.example.com
<-  250 STARTTLS
 -> STARTTLS
<-  220 go on
=== TLS started with cipher TLSv1.3:TLS_AES_256_GCM_SHA384:256
 ~> EHLO client.example.net
<~  250 mail.example.com
 ~> QUIT
<~  221 bye
`)
	const want = "S: 220 mail.example.com ESMTP\nC: EHLO client.example.net\nS: 250 mail.example.com\nC: QUIT\nS: 221 bye\n"
	if len(all) != 1 || !reflect.DeepEqual(all[0].Places, []int{2, 9, 10, 11, 12}) || linesOf(all[0]) != want || !all[0].InTLS || all[0].Settings["client_tls"] != "implicit" || all[0].Settings["server_tls"] != "implicit" {
		t.Errorf("it is told as %v", all)
	}
}

func TestSessionsAtTheSameTimeAreToldApart(t *testing.T) {
	var b strings.Builder
	for _, text := range []string{"> a[192.0.2.7]: 220 mail.example.com", "< a[192.0.2.7]: EHLO a", "> a[192.0.2.7]: 250 ok", "< a[192.0.2.7]: QUIT", "> a[192.0.2.7]: 221 bye"} {
		b.WriteString("Nov 29 17:18:32 mail postfix/smtpd[1]: " + text + "\n")
		b.WriteString("Nov 29 17:18:32 mail postfix/smtpd[2]: " + strings.ReplaceAll(text, "EHLO a", "EHLO b") + "\n")
	}
	b.WriteString("Nov 29 17:18:32 mail postfix/smtpd[2]: > a[192.0.2.7]: 554 go away\nNov 29 17:18:32 mail postfix/smtpd[2]: disconnect from a[192.0.2.7]\n")
	var got []string
	for _, d := range read(t, b.String()) {
		got = append(got, d.Dialogue[min(1, len(d.Dialogue)-1)].Text)
	}
	if want := []string{"EHLO a", "EHLO b", "554 go away"}; !reflect.DeepEqual(got, want) {
		t.Errorf("the sessions are %q", got)
	}
}

func TestTextBehindAnEarlyAnswerIsNoCommand(t *testing.T) {
	all := read(t, "S: 220 a\nC: DATA\nS: 354 go on\nC: Subject: x\nS: 452 full\nC: QUIT\nC: is a word\nC: .\nC: QUIT\nS: 221 bye\n")
	if len(all) != 1 || linesOf(all[0]) != "S: 220 a\nC: DATA\nS: 354 go on\n~ message 12 bytes\nS: 452 full\nC: QUIT\nS: 221 bye\n" {
		t.Errorf("it is told as %v", all)
	}
}

func TestAServerThatHangsUpIsTold(t *testing.T) {
	for name, text := range map[string]string{
		"swaks": "=== Connected to a.\n<-  220 a\n -> EHLO b\n*** Remote host closed connection unexpectedly.\n",
		"curl":  "* Connected to a (192.0.2.1) port 25 (#0)\n< 220 a\n> EHLO b\n* response reading failed\n* Closing connection 0\n",
		"Postfix": prefixed("Nov 29 17:18:32 mail postfix/smtp[1]: ", "< a[192.0.2.1]:25: 220 a\n> a[192.0.2.1]:25: EHLO b\n"+
			"4F1: lost connection with a[192.0.2.1] while performing the EHLO handshake"),
	} {
		all := read(t, text)
		if len(all) != 1 || linesOf(all[0]) != "S: 220 a\nC: EHLO b\n~ server lost\n" {
			t.Errorf("%s: it is told as %v", name, all)
		}
	}
}

func TestAGreetingThatIsMissingIsSaidToBe(t *testing.T) {
	all := read(t, "send: 'ehlo a\\r\\n'\nreply: b'250 ok\\r\\n'\n")
	if len(all) != 1 || all[0].Greeted || linesOf(all[0]) != "S: 220 a greeting that was not recorded\nC: ehlo a\nS: 250 ok\n" {
		t.Errorf("it is told as %v", all)
	}
}

func TestAFileMayBeCompressed(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(delivery))
	w.Close()
	if all := read(t, b.String()); len(all) != 1 {
		t.Errorf("there are %d dialogues", len(all))
	}
}

func TestATranscriptIsReadWithItsRules(t *testing.T) {
	names, err := filepath.Glob("../../rewrite/testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no dialogues in rewrite/testdata: %v", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := transcript.Parse(name, data)
		if err != nil {
			t.Fatal(err)
		}
		if all := read(t, string(data)); len(all) != 1 || !reflect.DeepEqual(all[0].File, *want) || all[0].Source != dialogues.Transcript {
			t.Errorf("%s: it is read as %v", name, all)
		}
	}
}

func TestAFileWithoutADialogueIsAnError(t *testing.T) {
	for _, text := range []string{"", "a letter\n", "GET / HTTP/1.1\n\n", "-- dialogue\n"} {
		err := dialogues.Read("log", strings.NewReader(text), func(*dialogues.Dialogue) error { return nil })
		if !errors.Is(err, dialogues.ErrNone) || !strings.HasPrefix(err.Error(), "log: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
