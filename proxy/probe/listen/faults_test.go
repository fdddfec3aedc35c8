package listen

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

const (
	mailFrom = "MAIL FROM:<a@example.com>"
	rcptTo   = "RCPT TO:<b@example.net>"
	header   = "Date: Mon, 1 Feb 1999 10:00:00 +0000\r\nFrom: a@example.com\r\nMessage-ID: <1@example.com>\r\n"
	whole    = header + "\r\nhello\r\n"
)

// says sends octets, each of which is answered by one reply, and returns the last lines.
func says(t *testing.T, addr string, all ...string) (replies []string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return converse(t, conn, all...)
}

func converse(t *testing.T, conn net.Conn, all ...string) (replies []string) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(patience))
	octets := make([]byte, 1)
	hear := func() (last string) {
		for {
			line := ""
			for !strings.HasSuffix(line, "\n") {
				if _, err := conn.Read(octets); err != nil {
					return ""
				}
				line += string(octets)
			}
			if len(line) < 6 || line[3] != '-' {
				return strings.TrimRight(line, "\r\n")
			}
		}
	}
	hear()
	for _, said := range all {
		if _, err := conn.Write([]byte(said)); err != nil {
			t.Fatal(err)
		}
		replies = append(replies, hear())
	}
	return replies
}

// Each wrong has its finding and no other, and each finding its entry and its rule.
func TestEachFaultIsFoundAndNoOther(t *testing.T) {
	body := func(text string) []string {
		return []string{"EHLO a.example.com\r\n", mailFrom + "\r\n", rcptTo + "\r\n", "DATA\r\n", text, "QUIT\r\n"}
	}
	set := withTLS(t)
	for name, said := range map[string][]string{
		"":                      body(whole + ".\r\n"),
		"hello-dot":             {"EHLO a.example.com.\r\n", "QUIT\r\n"},
		"hello-underscore":      {"EHLO a_b.example.com\r\n", "QUIT\r\n"},
		"hello-address":         {"HELO 192.0.2.1\r\n", "QUIT\r\n"},
		"hello-missing":         {"EHLO\r\n", "QUIT\r\n"},
		"hello-syntax":          {"EHLO my scanner\r\n", "QUIT\r\n"},
		"hello-blanks":          {"EHLO a.example.com \r\n", "QUIT\r\n"},
		"command-ends-lf":       {"EHLO a.example.com\n", "QUIT\n"},
		"command-octets":        {"EHLO a.example.com\r\n", "NO\x00OP\r\n", "QUIT\r\n"},
		"command-too-long":      {"EHLO a.example.com\r\n", "NOOP " + strings.Repeat("x", 5000) + "\r\n", "QUIT\r\n"},
		"command-too-long ":     {"EHLO a.example.com\r\n", "NOOP " + strings.Repeat("x", 2*maxLine) + "\r\n", "QUIT\r\n"},
		"blank-line":            {"EHLO a.example.com\r\n", "\r\nQUIT\r\n"},
		"other-protocol":        {"GET / HTTP/1.1\r\n"},
		"sends-ahead":           {"EHLO a.example.com\r\nMAIL FROM:<a@example.com>\r\n", "QUIT\r\n"},
		"sends-ahead ":          {"EHLO a.example.com\r\nAUTH LOGIN\r\n", "*\r\n", "QUIT\r\n"},
		"quit-behind-ehlo":      {"EHLO we-guess.example.org\r\nQUIT\r\n"},
		"no-hello":              {mailFrom + "\r\n", "QUIT\r\n"},
		"blank-at-colon":        {"EHLO a.example.com\r\n", "MAIL FROM: <a@example.com>\r\n", "RCPT TO : <b@example.net>\r\n", "QUIT\r\n"},
		"no-brackets":           {"EHLO a.example.com\r\n", "MAIL FROM:a@example.com\r\n", "QUIT\r\n"},
		"display-name":          {"EHLO a.example.com\r\n", "MAIL FROM:<A <a@example.com>>\r\n", "QUIT\r\n"},
		"apostrophes":           {"EHLO a.example.com\r\n", "MAIL FROM:<'a@example.com'>\r\n", "QUIT\r\n"},
		"source-route":          {"EHLO a.example.com\r\n", "MAIL FROM:<@b.example.com:a@example.com>\r\n", "QUIT\r\n"},
		"local-part-unquoted":   {"EHLO a.example.com\r\n", "MAIL FROM:<a.@example.com>\r\n", "QUIT\r\n"},
		"blank-at-parameters":   {"EHLO a.example.com\r\n", mailFrom + "  SIZE=9\r\n", "QUIT\r\n"},
		"blank-at-end":          {"EHLO a.example.com\r\n", mailFrom + "\r\n", "RSET \r\n", "QUIT\r\n"},
		"bad-path":              {"EHLO a.example.com\r\n", "MAIL <a@example.com\r\n", "QUIT\r\n"},
		"bad-order":             {"EHLO a.example.com\r\n", rcptTo + "\r\n", "QUIT\r\n"},
		"parameter-not-offered": {"HELO a.example.com\r\n", mailFrom + " SIZE=9\r\n", "QUIT\r\n"},
		"auth-after-helo":       {"HELO a.example.com\r\n", "AUTH CRAM-MD5\r\n", "c2VjcmV0\r\n", "QUIT\r\n"},
		"auth-not-offered":      {"EHLO a.example.com\r\n", "AUTH GSSAPI\r\n", "QUIT\r\n"},
		"auth-not-base64":       {"EHLO a.example.com\r\n", "AUTH PLAIN\r\n", "my password\r\n", "QUIT\r\n"},
		"text-before-354":       {"EHLO a.example.com\r\n", mailFrom + "\r\n", rcptTo + "\r\n", "DATA\r\n" + whole + ".\r\n"},
		"bare-lf":               body(header + "\r\nhel\nlo\r\n.\r\n"),
		"ends-with-lf":          body(strings.ReplaceAll(whole, "\r\n", "\n") + ".\n"),
		"bare-cr":               body(header + "\r\nhel\rlo\r\n.\r\n"),
		"nul":                   body(header + "\r\nhel\x00lo\r\n.\r\n"),
		"long-line":             body(header + "\r\n" + strings.Repeat("x", 999) + "\r\n.\r\n"),
		"dots":                  body(header + "\r\n.hello\r\n.\r\n"),
		"8-bit-unlabelled":      body(header + "\r\ngr\xfc\xdfe\r\n.\r\n"),
		"8-bit-header":          body(header + "Subject: gr\xfc\xdfe\r\n\r\nhello\r\n.\r\n"),
		"no-date":               body("From: a@example.com\r\nMessage-ID: <1@example.com>\r\n\r\nhello\r\n.\r\n"),
		"no-message-id":         body("From: a@example.com\r\nDate: Mon, 1 Feb 1999 10:00:00 +0000\r\n\r\nhello\r\n.\r\n"),
		"no-from":               body("Message-ID: <1@example.com>\r\nDate: Mon, 1 Feb 1999 10:00:00 +0000\r\n\r\nhello\r\n.\r\n"),
		"false-end":             body(header + "\r\nhello\r\n.\r\nmore text\r\nand more\r\n"),
		"xauth":                 {"EHLO a.example.com\r\n", "XAUTH NTLM\r\n", "*\r\n", "QUIT\r\n"},
		"clear-behind-starttls": {"EHLO a.example.com\r\n", "STARTTLS\r\nRSET\r\n"},
	} {
		_, addr, visits := start(t, set)
		says(t, addr, said...)
		v := visit(t, visits)
		got := names(v.Faults)
		if name == "clear-behind-starttls" { // no handshake comes
			got = slices.DeleteFunc(got, func(n string) bool { return n == "tls-fails" })
		}
		if want := strings.Fields(name); !slices.Equal(got, want) {
			t.Errorf("%s: found %q %v", name, got, v.Faults)
		}
	}
}

func TestNotesAreNoFaults(t *testing.T) {
	for name, said := range map[string][]string{
		"hello-one-label":         {"EHLO scanner\r\n", "QUIT\r\n"},
		"hello-loopback":          {"EHLO localhost\r\n", "QUIT\r\n"},
		"helo-alone":              {"HELO a.example.com\r\n", "QUIT\r\n"},
		"ehlo-again":              {"EHLO a.example.com\r\n", "EHLO a.example.com\r\n", "QUIT\r\n"},
		"small-letters":           {"ehlo a.example.com\r\n", "quit\r\n"},
		"unknown-command":         {"EHLO a.example.com\r\n", "XYZZY\r\n", "QUIT\r\n"},
		"no-quit":                 {"EHLO a.example.com\r\n"},
		"password-in-clear":       {"EHLO a.example.com\r\n", "AUTH PLAIN AHUAcA==\r\n", "QUIT\r\n"},
		"auth-login-name-on-line": {"EHLO a.example.com\r\n", "AUTH LOGIN dXNlcg==\r\n", "*\r\n", "QUIT\r\n"},
		"local-part-quoted":       {"EHLO a.example.com\r\n", "MAIL FROM:<\"a\"@example.com>\r\n", "QUIT\r\n"},
	} {
		_, addr, visits := start(t, nil)
		says(t, addr, said...)
		v := visit(t, visits)
		if got := names(v.Notes); !slices.Equal(got, []string{name}) || v.Faults != nil {
			t.Errorf("%s: notes %q, faults %q", name, got, names(v.Faults))
		}
	}
}

func TestWhatComesBeforeTheGreetingIsFound(t *testing.T) {
	set := withTLS(t)
	early := func(l *Listener) { set(l); l.Pause = patience }
	for _, name := range []string{"early-talk", "early-tls"} {
		_, addr, visits := start(t, early)
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if name == "early-talk" {
			conn.Write([]byte("EHLO a.example.com\r\n"))
			converse(t, conn, "", "QUIT\r\n")
		} else {
			converse(t, tls.Client(conn, &tls.Config{InsecureSkipVerify: true}), "EHLO a.example.com\r\n", mailFrom+"\r\n", "QUIT\r\n")
		}
		conn.Close()
		if v := visit(t, visits); !slices.Equal(names(v.Faults), []string{name}) || v.Ended != "it sent QUIT" {
			t.Errorf("%s: found %q, ended %q", name, names(v.Faults), v.Ended)
		}
	}
}

func TestTLSThatBeginsBehindTheGreetingIsFound(t *testing.T) {
	l, addr, visits := start(t, nil)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hear := bufio.NewReader(conn)
	if _, err := hear.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	go tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake()
	if v := visit(t, visits); !slices.Equal(names(v.Faults), []string{"late-tls"}) {
		t.Errorf("%+v", v)
	}
	if route := Route(l.Callers(), ":25", "mail.example.com:25"); !strings.Contains(route, "wait = 2000") || !strings.Contains(route, `"offer"`) {
		t.Errorf("the route is\n%s", route)
	}
}

// An old client of TLS is told what it needs, and the route has it.
func TestWhatOldTLSNeedsIsFound(t *testing.T) {
	set := withTLS(t)
	for _, test := range []struct {
		config      *tls.Config
		fault, says string
	}{
		{&tls.Config{MaxVersion: tls.VersionTLS10}, "old-tls", `allow = ["obsolete-tls-1.0"]`},
		{&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}}, "old-tls", `allow = ["broken-3des", "recordable-rsa-key-exchange"]`},
		{&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}}, "cbc-tls", `ciphers = "legacy"`},
	} {
		l, addr, visits := start(t, set)
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		test.config.InsecureSkipVerify, test.config.MinVersion = true, tls.VersionTLS10
		converse(t, conn, "EHLO a.example.com\r\n", "STARTTLS\r\n")
		secure := tls.Client(conn, test.config)
		if err := secure.Handshake(); err != nil {
			t.Error(err)
		}
		secure.Write([]byte("QUIT\r\n"))
		v := visit(t, visits)
		conn.Close()
		if got := names(v.Faults); !slices.Equal(got, []string{test.fault}) {
			t.Errorf("%s: found %q", test.fault, got)
		}
		if route := Route(l.Callers(), "127.0.0.1:2525", "192.0.2.1:25"); !strings.Contains(route, test.says) {
			t.Errorf("%s is not in\n%s", test.says, route)
		}
	}
}

// No part of a password, in any form of an exchange, gets into what is told.
func TestSecretsAreNotTold(t *testing.T) {
	const secret = "correct-horse"
	encoded := base64.StdEncoding.EncodeToString([]byte(secret))
	plain := base64.StdEncoding.EncodeToString([]byte("\x00user\x00" + secret))
	for _, said := range [][]string{
		{"AUTH PLAIN " + plain + "\r\n"}, {"AUTH PLAIN\r\n", plain + "\r\n"}, {"AUTH LOGIN\r\n", "dXNlcg==\r\n", encoded + "\r\n"},
		{"auth  login dXNlcg==\r\n", encoded + "\r\n"}, {"AUTH=LOGIN\r\n", "dXNlcg==\r\n", encoded + "\r\n"}, {"AUTH PLAIN\r\n", secret + "\r\n"},
		{"AUTH " + plain + "\r\n"}, {"AUTH XYZ " + plain + "\r\n", encoded + "\r\n", secret + "\r\n"}, {"XAUTH " + plain + "\r\n"}, {"X-EXPS LOGIN " + encoded + "\r\n"},
		{"AUTH LOGIN\r\nQUIT\r\n", encoded + "\r\n"}, {"AUTH PLAIN " + plain + "\r\n" + secret + "\r\n", secret + "\r\n"},
		{"USER user\r\n", "PASS " + secret + "\r\n"}, {"LOGIN:" + plain + "\r\n"},
		{"AUTH\tPLAIN\t" + plain + "\n"}, {" AUTH PLAIN " + plain + " x\r\n"}, {"AUTH:PLAIN " + plain + "\r\n"},
	} {
		l, addr, visits := start(t, nil)
		says(t, addr, append([]string{"EHLO a.example.com\r\n"}, append(said, "QUIT\r\n")...)...)
		v := visit(t, visits)
		told, err := json.Marshal([]any{v, l.Callers()})
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{secret, encoded, plain, secret[3:], "dXNlcg"} {
			if bytes.Contains(told, []byte(part)) {
				t.Errorf("%q is told of %q: %s", part, said, told)
			}
		}
	}
}

func TestWhatAClientCanIsBounded(t *testing.T) {
	_, addr, visits := start(t, nil)
	command := "MAIL FROM:<a@example.com>"
	for n := range 200 {
		command += fmt.Sprintf(" BODY=%d", n)
	}
	l := &Listener{Hostname: "probe.example.com"}
	s := newSession(l, nil, &Caller{})
	s.introduced, s.hello = true, rewrite.VerbEHLO
	s.path(rewrite.VerbMAIL, []byte(command), "")
	if len(s.can) > maxCan {
		t.Errorf("%d are kept", len(s.can))
	}
	says(t, addr, "EHLO a.example.com\r\n", command+"\r\n", "QUIT\r\n")
	if v := visit(t, visits); len(v.Can) > maxCan {
		t.Errorf("%d are told", len(v.Can))
	}
}

func TestASessionThatNeverEndsIsEnded(t *testing.T) {
	_, addr, visits := start(t, nil)
	noop := strings.Repeat("NOOP\r\n", maxCommands+1)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go conn.Write([]byte(noop))
	go func() {
		for octets := make([]byte, 4096); ; {
			if _, err := conn.Read(octets); err != nil {
				return
			}
		}
	}()
	if v := visit(t, visits); !strings.HasPrefix(v.Ended, "it was stopped") {
		t.Errorf("it ended so: %s", v.Ended)
	}
}

func TestSilentClientsCountAsNone(t *testing.T) {
	l, addr, visits := start(t, nil)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if v := visit(t, visits); v.Session != 0 || v.Faults != nil {
		t.Errorf("%+v", v)
	}
	if list := l.Callers(); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

func TestEveryRowNamesWhatThereIs(t *testing.T) {
	all := allRows()
	seen := map[string]bool{}
	for _, r := range all {
		if seen[r.name] {
			t.Errorf("there are two called %q", r.name)
		}
		seen[r.name] = true
		f := r.finding([]string{"C: NOOP"})
		if _, err := f.Catalogued(); err != nil {
			t.Error(err)
		}
		if r.rule != "" && !slices.ContainsFunc(heal.Table(), func(rule rewrite.Rule) bool {
			return rule.Name == r.rule && (r.entry == "" || slices.Contains(rule.Entries, r.entry))
		}) {
			t.Errorf("%s: there is no rule %s that is for %s", r.name, r.rule, r.entry)
		}
		if f.Means == "" || f.Heals == "" || r.entry != "" && f.Source == "" {
			t.Errorf("%+v", f)
		}
	}
}

// allRows are all that can be found.
func allRows() []row {
	all := []row{earlyTalk, earlyTLS, lateTLS, ahead, quitAhead, textAhead, oneLineReader, oneLineGreeting, oneLine354, needsESMTP, lineEnd, badOctet,
		blank, tooLong, web, unknown, small, noQUIT, oneLabel, helloOnly, noHello, ehloAgain, noEHLOInTLS, badPath, badOrder, param, authAfterHELO,
		authUnasked, needsNTLM, xauth, xexps, firstOnLine, notBase64, inClear, oldTLS, cbcTLS, tlsFails, distrust, inTLSClear, bareLF, lfEnd,
		bareCR, nul, longLine, dots, falseEnd, unlabelled, eightHeader, undeclared, noDate, noID, noFrom}
	for _, rows := range []map[string]row{badHello, untidy} {
		for _, r := range rows {
			all = append(all, r)
		}
	}
	for _, f := range formTable {
		if f.row.name != "" && f.row.name != oneLineReader.name && f.row.name != needsESMTP.name {
			all = append(all, f.row)
		}
	}
	return all
}

// What came before the first line of a reply is no word between its lines.
func TestAClientThatSendsAheadReadsWholeReplies(t *testing.T) {
	_, addr, visits := start(t, nil)
	says(t, addr, "EHLO a.example.com\r\n", mailFrom+"\r\n", rcptTo+"\r\n", "DATA\r\n", whole+".\r\n", "QUIT\r\n")
	if v := visit(t, visits); v.Next != "a server whose replies have two lines that arrive separately" {
		t.Fatalf("next is %q", v.Next)
	}
	says(t, addr, "EHLO a.example.com\r\n", mailFrom+"\r\n"+rcptTo+"\r\nQUIT\r\n", "", "")
	if v := visit(t, visits); !slices.Equal(names(v.Faults), []string{"sends-ahead"}) {
		t.Errorf("found %q", names(v.Faults))
	}
}

func TestAMessageInChunksIsJudgedLikeOneOfDATA(t *testing.T) {
	_, addr, visits := start(t, nil)
	says(t, addr, "EHLO a.example.com\r\n", mailFrom+" BODY=8BITMIME\r\n", rcptTo+"\r\n",
		fmt.Sprintf("BDAT %d\r\n%s", len(header), header), "BDAT 12 LAST\r\n\r\n.gr\xfcn\nok\r\n", "QUIT\r\n")
	v := visit(t, visits)
	if want := []string{"bare-lf", "8-bit-unlabelled"}; !slices.Equal(names(v.Faults), want) || !v.Through || v.Ended != "it sent QUIT" {
		t.Errorf("found %q, through: %v, %s", names(v.Faults), v.Through, v.Ended)
	}
	if want := []string{"EHLO", "BODY=8BITMIME", "BDAT"}; !slices.Equal(v.Can, want) {
		t.Errorf("it can %q", v.Can)
	}
}

func TestAClientThatDoesNotBelieveTheCertificateIsNotBlamed(t *testing.T) {
	l, addr, visits := start(t, withTLS(t))
	client, _ := smtptest.LookupClient("modern")
	client.TLS, client.Timeout = &tls.Config{ServerName: "probe.example.com"}, patience
	client.Deliver(func() (net.Conn, error) { return net.Dial("tcp", addr) }, message)
	v := visit(t, visits)
	if !slices.Equal(names(v.Notes), []string{"tls-certificate"}) || v.Faults != nil || v.Through || v.Next != "a server without STARTTLS" {
		t.Errorf("%+v", v)
	}
	if route := Route(l.Callers(), ":25", "mail.example.com:25"); route != "" {
		t.Errorf("a route is proposed:\n%s", route)
	}
}

func TestASilentClientIsNotWaitedForLong(t *testing.T) {
	_, addr, visits := start(t, func(l *Listener) { l.Timeout = 100 * time.Millisecond })
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if v := visit(t, visits); v.Ended != "it was silent for 100ms after the greeting" {
		t.Errorf("it ended so: %s", v.Ended)
	}
}

func TestAsManySessionsAsThereMayBeAndNoMore(t *testing.T) {
	_, addr, visits := start(t, nil)
	var conns []net.Conn
	for range maxSessions {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if first := converse(t, conn, "NOOP\r\n"); first[0] != "250 2.0.0 ok" {
			t.Fatalf("one of %d heard %q", maxSessions, first)
		}
		conns = append(conns, conn)
	}
	one, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	one.SetDeadline(time.Now().Add(patience))
	if line, err := bufio.NewReader(one).ReadString('\n'); !strings.HasPrefix(line, "421 ") {
		t.Errorf("one too many heard %q, %v", line, err)
	}
	conns[0].Close()
	visit(t, visits)
	says(t, addr, "QUIT\r\n")
	visit(t, visits)
}
