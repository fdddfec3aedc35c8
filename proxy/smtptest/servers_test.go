package smtptest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var testTimeout = time.Minute

// texts calls f with each Text in a row, by its place.
func texts(place string, v reflect.Value, f func(place string, t Text)) {
	if t, ok := v.Interface().(Text); ok {
		f(place, t)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				texts(place+"."+v.Type().Field(i).Name, v.Field(i), f)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			texts(place, v.Index(i), f)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			texts(place+"."+k.String(), v.MapIndex(k), f)
		}
	}
}

// One that stays up for days would keep all that was ever said.
func TestAServerThatLastsKeepsNothing(t *testing.T) {
	server, _ := LookupServer("modern")
	server.Lasts = true
	received := make(chan Message, 2)
	server.Received = func(m Message) { received <- m }
	l, err := net.Listen("tcp", Loopback()+":0")
	if err != nil {
		t.Fatal(err)
	}
	running := server.Start(l)
	defer running.Close()
	for range 2 {
		conn, err := net.Dial("tcp", running.Addr())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "HELO a.example.com\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n.\r\nQUIT\r\n")
		if said, _ := io.ReadAll(conn); !strings.Contains(string(said), "221 ") {
			t.Errorf("it said %q", said)
		}
		conn.Close()
	}
	running.Wait()
	for range 2 {
		if m := <-received; m.From != "a@example.com" || len(m.To) != 1 || m.To[0] != "b@example.net" {
			t.Errorf("Received got %+v", m)
		}
	}
	if kept := len(running.Messages()) + len(running.Dialogues()); kept > 0 {
		t.Errorf("it has kept %d", kept)
	}
}

func TestEveryLineHasItsEvidence(t *testing.T) {
	source := regexp.MustCompile(`^(assumed: .+|KB Q?\d{5,6}\b.*|nmap\b.*|Postfix HISTORY \d+|\[MS-SMTPNTLM\].*|RFC \d+.*|rapid7/recog|sendmail RELEASE_NOTES .+|a transcript of .+|github\.com/[\w-]+/[\w.-]+#\d+.*)$`)
	seen := 0
	check := func(place string, text Text) {
		if text == (Text{}) {
			return // the row has no such line
		}
		seen++
		if !source.MatchString(text.Evidence) {
			t.Errorf("%s: %q has the evidence %q", place, text.Line, text.Evidence)
		}
		if strings.ContainsAny(text.Line, "\r\n\x00") || text.Line == "" {
			t.Errorf("%s: %q is no line", place, text.Line)
		}
	}
	for _, s := range Servers() {
		texts(s.Name, reflect.ValueOf(s), check)
	}
	for _, c := range Clients() {
		texts(c.Name, reflect.ValueOf(c), check)
	}
	if seen < 200 {
		t.Errorf("only %d lines were looked at", seen)
	}
}

func TestEveryReplyIsAReply(t *testing.T) {
	line := regexp.MustCompile(`^[2345][0-9][0-9][ -]`)
	for _, s := range Servers() {
		check := func(place string, text Text) {
			if text.Line != "" && !line.MatchString(text.Line) {
				t.Errorf("%s: %q is no reply", place, text.Line)
			}
		}
		texts(s.Name+".Greeting", reflect.ValueOf(s.Greeting), check)
		texts(s.Name+".Replies", reflect.ValueOf(s.Replies), check)
		texts(s.Name+".Verbs", reflect.ValueOf(s.Verbs), check)
	}
}

func TestRowsAreFoundByName(t *testing.T) {
	for _, s := range Servers() {
		if got, ok := LookupServer(s.Name); !ok || got.Name != s.Name || s.Doc == "" {
			t.Errorf("the server %q is not found, or has no doc", s.Name)
		}
	}
	for _, c := range Clients() {
		if got, ok := LookupClient(c.Name); !ok || got.Name != c.Name || c.Doc == "" {
			t.Errorf("the client %q is not found, or has no doc", c.Name)
		}
	}
	if _, ok := LookupServer("exchange-9"); ok {
		t.Error("a server of no name was found")
	}
}

// script plays the client's side against a server.
func script(t *testing.T, s Server, steps ...Step) *Running {
	t.Helper()
	running, dial := start(t, s)
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := Play(conn, testTimeout, steps...); err != nil {
		t.Fatalf("%s: %v", s.Name, err)
	}
	return running
}

// A serverDialogue is a client's side and the server that it fits.
type serverDialogue struct {
	server Server
	steps  []Step
}

func imsDialogues(t *testing.T) []serverDialogue {
	return []serverDialogue{
		{server(t, "exchange-5.0"), []Step{
			Expect("220 mail.example.com Microsoft Exchange Internet Mail Service 5.0.1460.8 ready"),
			Say("EHLO x.example.com"), Expect("250-mail.example.com Hello [127.0.0.1]",
				"250-XEXCH50", "250-HELP", "250-XAUTH NTLM", "250-ETRN", "250-DSN", "250 SIZE 0"),
			Say("EXPN x"), Expect("502 command not implemented"),
			Say("AUTH NTLM"), Expect("500 command not recognized"),
			Say("STARTTLS"), Expect("500 command not recognized"),
			Say("QUIT"), Expect("221 closing connection"), ExpectEnd(),
		}},
		{server(t, "exchange-5.5"), []Step{
			Expect("220 mail.example.com ESMTP Server (Microsoft Exchange Internet Mail Service 5.5.2653.13) ready"),
			Say("EHLO x.example.com"), Expect("250-mail.example.com Hello [127.0.0.1]",
				"250-XEXCH50", "250-HELP", "250-ETRN", "250-DSN", "250-SIZE 0", "250-AUTH LOGIN", "250 AUTH=LOGIN"),
			Say("EHLO x.example.com"), Expect("503 Bad Sequence"),
			Say("HELO x.example.com"), Expect("503 Bad Sequence"),
			Say("MAIL FROM:<JohnD@example.com> SIZE=1460 RET=FULL"),
			Expect("250 OK - mail from <JohnD@example.com>; can accomodate 1460 bytes"),
			Say("RCPT TO:<janed@example.net> NOTIFY=FAILURE,DELAY"), Expect("250 OK - Recipient <janed@example.net>"),
			Say("XEXCH50 2 2"), Expect("505 Authentication required"),
			Say("DATA"), Expect("354 Send data.  End with CRLF.CRLF"), Send("..\r\n.\r\n"), Expect("250 OK"),
			Say("MAIL FROM:<>"), Expect("250 OK - mail from <>"),
			Say("MAIL FROM:<>"), Expect("503 Bad Sequence"),
			Say("QUIT"), Expect("221 closing connection"), ExpectEnd(),
		}},
	}
}

func TestDocumentedDialogues(t *testing.T) {
	forServer, _ := testTLS(t)
	withTLS := func(s Server) Server { s.TLS = forServer; return s }
	hangsUp := server(t, "sendmail-8.6")
	hangsUp.HangsUp = true
	greeting86 := []string{
		"220-mail.example.com Sendmail 8.6.12/8.6.9 ready at Mon, 28 Aug 1995 09:32:00 -0400",
		"220 ESMTP spoken here",
	}
	iis4Greeting := []string{
		"220-mail.example.com Microsoft SMTP MAIL ready at Sat, 28 Aug 1999 09:32:00 -0400 Version: 5.5.1774.114.11",
		"220 ESMTP spoken here",
	}
	for _, test := range append(imsDialogues(t), []serverDialogue{
		{withTLS(server(t, "iis-4")), []Step{
			Expect(iis4Greeting...),
			Say("EHLO sub2."), Expect("501 Invalid Address"),
			Say("EHLO"), Expect("501 Invalid Address"),
			Say("ehlo sub2"), Expect("250-mail.example.com Hello [127.0.0.1]",
				"250-SIZE", "250-PIPELINING", "250-8bitmime", "250-STARTTLS", "250-ETRN", "250-TURN", "250 OK"),
			Say("MAIL FROM:<a@example.com>"), Expect("505 Must issue a STARTTLS command first"),
			Say("QUIT"), Expect("221 mail.example.com Service closing transmission channel"), ExpectEnd(),
		}},
		{server(t, "mcis-2"), []Step{
			Expect(iis4Greeting...),
			Say("HELO sub2."), Expect("501 Invalid Address"),
			Say("HELO sub2"), Expect("250 mail.example.com Hello [127.0.0.1]"),
			Say("MAIL FROM:<a@example.com>"), Expect("250 a@example.com....Sender OK"),
		}},
		{server(t, "iis-5"), []Step{
			Expect("220 mail.example.com Microsoft ESMTP MAIL Service, Version: 5.0.2172.1 ready at  Tue, 29 Feb 2000 18:55:48 -0600"),
			Say("EHLO sub2."), Expect("501 Invalid Address"),
			Say("HELO"), Expect("250 mail.example.com Hello [127.0.0.1]"),
		}},
		{server(t, "exchange-2003"), []Step{
			Expect("220 mail.example.com Microsoft ESMTP MAIL Service, Version: 6.0.3790.4675 ready at  Wed, 21 Jul 2010 19:04:24 -0700"),
			Say("EHLO"), Expect("250-mail.example.com Hello [127.0.0.1]", "250-TURN", "250-ATRN", "250-SIZE 2097152",
				"250-ETRN", "250-PIPELINING", "250-DSN", "250-ENHANCEDSTATUSCODES", "250-8bitmime", "250-BINARYMIME",
				"250-CHUNKING", "250-VRFY", "250-X-EXPS GSSAPI NTLM LOGIN", "250-X-EXPS=LOGIN",
				"250-AUTH GSSAPI NTLM LOGIN", "250-AUTH=LOGIN", "250-XEXCH50", "250-X-LINK2STATE", "250 OK"),
			Say("AUTH NTLM"), Expect("334 ntlm supported"), Say("*"), Expect("501 5.7.0 Authentication cancelled"),
			Say("XEXCH50 2 2"), Expect("504 Need to authenticate first"),
			Say("MAIL FROM:<a@example.com>"), Expect("250 2.1.0 a@example.com....Sender OK"),
			Say("RCPT TO:<b@example.net>"), Expect("250 2.1.5 b@example.net"),
			Send("BDAT 3\r\na\r\n"), Expect("250 2.0.0 OK"), Send("BDAT 4 LAST\r\n.\r\nb"),
			Expect("250 2.6.0 <1@mail.example.com> Queued mail for delivery"),
		}},
		{server(t, "sendmail-8.6"), []Step{
			Expect(greeting86...),
			Say("EHLO x.example.com"), Expect("500 Command unrecognized"),
			Say("HELO x.example.com"), Expect("250 mail.example.com Hello x.example.com [127.0.0.1], pleased to meet you"),
			Say("RCPT TO:<b@example.net>"), Expect("503 Need MAIL command"),
		}},
		{hangsUp, []Step{Expect(greeting86...), Say("EHLO x.example.com"), ExpectEnd()}},
		{server(t, "modern"), []Step{
			Expect("220 mail.example.com ESMTP"),
			Say("EHLO x.example.com"), Expect("250-mail.example.com", "250-SIZE 67108864", "250-PIPELINING",
				"250-8BITMIME", "250 ENHANCEDSTATUSCODES"),
			Say("AUTH NTLM"), Expect("504 5.5.4 Unrecognized authentication type"),
			Say("XEXCH50 2 2"), Expect("500 5.5.2 Error: command not recognized"),
			Say("NOOP", "RSET", "QUIT"), Expect("250 2.0.0 Ok", "250 2.0.0 Ok", "221 2.0.0 Bye"), ExpectEnd(),
		}},
	}...) {
		t.Run(test.server.Name, func(t *testing.T) { script(t, test.server, test.steps...) })
	}
}

func TestABodyIsKeptAsItCame(t *testing.T) {
	r := script(t, server(t, "modern"),
		Expect("220 mail.example.com ESMTP"),
		Say("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "DATA"),
		Expect("250 2.1.0 Ok", "250 2.1.5 Ok", "354 End data with <CR><LF>.<CR><LF>"),
		Send("..\r\n\n.\n\r.\r\nx\r\n.\r\n"),
		Expect("250 2.0.0 Ok: queued as 1@mail.example.com"),
		Close())
	r.Wait()
	// Of the dots only the first and the last stand behind a CRLF.
	if got := string(r.Messages()[0].Body); got != ".\r\n\n.\n\r.\r\nx\r\n" {
		t.Errorf("the body is %q", got)
	}
	d := r.Dialogues()[0].String()
	if !strings.Contains(d, "~ message 13 bytes\n") || !strings.Contains(d, "~ client lost: ") {
		t.Errorf("the server has on record\n%s", d)
	}
}

func TestForgottenTLSDependsOnTheVariant(t *testing.T) {
	const refused = "505 Must issue a STARTTLS command first"
	type attempt struct {
		ehlo bool
		ndr  string
	}
	for _, test := range []struct {
		name     string
		forgets  Forgets
		resume   bool
		attempts []attempt
	}{
		{"nothing", ForgetsNothing, false, []attempt{{false, ""}}},
		{"first", ForgetsFirst, false, []attempt{{true, refused}, {false, ""}, {true, ""}}},
		{"unresumed, a full handshake each time", ForgetsUnresumed, false, []attempt{{true, refused}, {true, refused}}},
		{"unresumed, resumed", ForgetsUnresumed, true, []attempt{{true, refused}, {true, ""}}},
		{"always", ForgetsAlways, true, []attempt{{true, refused}, {true, refused}}},
		{"until EHLO", ForgetsUntilEhlo, false, []attempt{{false, refused}, {true, ""}, {false, refused}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, c := server(t, "iis-4"), client(t, "exchange-5.5")
			s.TLS, c.TLS = testTLS(t)
			s.Forgets = test.forgets
			if test.resume {
				c.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			}
			_, dial := start(t, s)
			for _, a := range test.attempts {
				c.EhloAfterTLS = a.ehlo
				outcome := Delivered
				if a.ndr != "" {
					outcome = Bounced
				}
				wantOutcome(t, c.Deliver(dial, testMessage), outcome, a.ndr)
			}
		})
	}
}

func TestOctetsBeforeTLSEndTheSession(t *testing.T) {
	s := server(t, "modern")
	s.TLS, _ = testTLS(t)
	r := script(t, s,
		Expect("220 mail.example.com ESMTP"),
		Say("STARTTLS", "MAIL FROM:<a@example.com>"),
		Expect("220 2.0.0 Ready to start TLS"), ExpectEnd())
	r.Wait()
	if got := r.Dialogues()[0].Said("C"); !slices.Equal(got, []string{"STARTTLS"}) {
		t.Errorf("the server heard %q", got)
	}
}

func TestCloseEndsEverySession(t *testing.T) {
	running, dial := start(t, server(t, "modern"))
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := Play(conn, testTimeout, Expect("220 mail.example.com ESMTP")); err != nil {
		t.Fatal(err)
	}
	if err := running.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Play(conn, testTimeout, ExpectEnd()); err != nil {
		t.Error(err)
	}
	if _, err := dial(); err == nil {
		t.Error("the server still listens")
	}
	if err := running.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closing twice: %v", err)
	}
}

func TestTheArticlesOwnLinesAreAttestedAndXAUTHIsNot(t *testing.T) {
	iis4, ims50 := server(t, "iis-4").Replies, client(t, "exchange-5.0")
	for _, text := range []Text{
		iis4.BadHello, iis4.StartTLS, iis4.NeedTLS, ims50.Missing,
		server(t, "exchange-5.0").Replies.OtherAuth, server(t, "modern").SlowData(0).Replies.Data[0],
	} {
		if text.Assumed() {
			t.Errorf("%q is marked %q", text.Line, text.Evidence)
		}
	}
	s := server(t, "exchange-5.0").WithXauth("XAUTH")
	for _, text := range append(append(s.Ehlo, s.Auth...), ims50.Auth) {
		if strings.Contains(text.Line, "XAUTH") && !text.Assumed() {
			t.Errorf("%q is marked %q", text.Line, text.Evidence)
		}
	}
}

func TestTheStrictServerRefusesWhatItHasNotOffered(t *testing.T) {
	strict := server(t, "modern-strict")
	mended, ok := strict.Mended()
	if !ok || mended.Name != "modern-strict, mended" {
		t.Fatalf("mended it is %q", mended.Name)
	}
	const greeting, taken = "220 mail.example.com ESMTP", "250 2.1.0 Ok"
	script(t, strict, Expect(greeting),
		Say("MAIL FROM: <a@example.com>"), Expect("501 5.5.4 Syntax error in parameters or arguments"),
		Say("MAIL FROM:<a@example.com> RET=FULL"), Expect("555 5.5.4 Unsupported option"),
		Say("MAIL FROM:<a@example.com> SIZE=10 BODY=8BITMIME"), Expect(taken), Close())
	script(t, mended, Expect(greeting), Say("MAIL FROM: <a@example.com> RET=FULL"), Expect(taken), Close())
}

func TestTheWatchGuardTakesALoginThatItDoesNotShow(t *testing.T) {
	guard := server(t, "watchguard")
	mended, _ := guard.Mended()
	for _, test := range []struct {
		Server
		keywords []string
	}{
		{guard, []string{"250 SIZE 0"}},
		{mended, []string{"250-SIZE 0", "250-AUTH LOGIN", "250 AUTH=LOGIN"}},
	} {
		script(t, test.Server,
			Expect("220 SMTP service ready"),
			Say("EHLO x.example.com"), Expect(append([]string{"250-mail.example.com Hello [127.0.0.1]", "250-HELP", "250-ETRN", "250-DSN"}, test.keywords...)...),
			Say("AUTH LOGIN"), Expect("334 VXNlcm5hbWU6"), Say("dXNlcg=="), Expect("334 UGFzc3dvcmQ6"),
			Say("cGFzc3dvcmQ="), Expect("235 LOGIN authentication successful"), Close())
	}
}

// Mending a row does not change the table, nor the row that it was made of.
func TestMendingLeavesTheRowAsItWas(t *testing.T) {
	for _, s := range Servers() {
		before := fmt.Sprint(s.Greeting, s.Ehlo, s.Replies, s.Verbs, s.Auth)
		mended, ok := s.Mended()
		if ok && before != fmt.Sprint(s.Greeting, s.Ehlo, s.Replies, s.Verbs, s.Auth) {
			t.Errorf("%s has changed", s.Name)
		}
		if _, again := mended.Mended(); again {
			t.Errorf("%s can be mended twice", s.Name)
		}
	}
}
