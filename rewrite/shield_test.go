package rewrite_test

import (
	"strings"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
	player "smtpshim/rewrite/play"
)

// Header fields are measured with their names and the lines that they go on in,
// however the message is split, and what the body has is no field.
func TestTheShieldMeasuresHeaderFields(t *testing.T) {
	subject := func(n int) string { return "Subject: " + strings.Repeat("x", n-len("Subject: ")) + "\r\n" }
	field := func(n int) string { return "X: " + strings.Repeat("x", n-len("X: ")) + "\r\n" }
	const rest = "\r\nbody\r\n"
	for _, c := range []struct {
		option  string
		limit   any
		message string
		want    string
	}{
		{"subject_characters", "#:", "SUBJECT: all is well\r\nX: #\r\n" + rest + "#\r\n", ""},
		{"subject_characters", "#:", "Subject: all\r\n is #1\r\n" + rest, "554 5.6.0 a character is in the Subject that the server must not see"},
		{"subject_length", int64(100), subject(100) + rest, ""},
		{"subject_length", int64(100), subject(101) + rest, "554 5.6.0 the Subject has more than 100 octets"},
		{"subject_length", int64(100), "sUBJECT" + subject(101)[len("Subject"):] + rest, "554 5.6.0 the Subject has more than 100 octets"},
		{"subject_length", int64(100), subject(60) + " " + strings.Repeat("x", 39) + "\r\n" + rest, ""},
		{"subject_length", int64(100), subject(60) + "\t" + strings.Repeat("x", 40) + "\r\n" + rest, "554 5.6.0 the Subject has more than 100 octets"},
		{"subject_length", int64(100), subject(60) + field(101) + rest, ""},
		{"subject_length", int64(100), field(60) + "\r\n" + subject(101) + rest, ""},
		{"subject_length", int64(100), subject(60) + subject(60) + rest, ""},
		{"field_length", int64(100), field(100) + field(100) + rest, ""},
		{"field_length", int64(100), field(100) + field(101) + rest, "554 5.6.0 a field of the header has more than 100 octets"},
		{"field_length", int64(100), field(10) + "\r\n" + strings.Repeat("x", 101) + "\r\n", ""},
		{"header_length", int64(100), field(48) + field(46) + rest, ""},
		{"header_length", int64(100), field(48) + field(47) + rest, "554 5.6.0 the header has more than 100 octets"},
	} {
		for cut := range len(c.message) {
			options := map[string]map[string]any{"shield": {c.option: c.limit}}
			compiled, errs := heal.Compile([]string{"shield"}, options)
			if errs != nil {
				t.Fatal(errs)
			}
			k := talkUnder(t, &rewrite.Policy{Rules: compiled, Hostname: "relay.example.com"})
			k.transaction()
			m := k.d.Text()
			out := byDATA(m, []byte(c.message+".\r\n"), cut)
			if m.Refusal() != c.want {
				t.Fatalf("%s = %v, %q cut at %d: the refusal is %q, want %q", c.option, c.limit, c.message, cut, m.Refusal(), c.want)
			}
			if c.want == "" && string(out) != c.message+".\r\n" {
				t.Fatalf("%s = %v, %q cut at %d: the message became %q", c.option, c.limit, c.message, cut, out)
			}
		}
	}
}

// Where a header is looked at BDAT is not offered: its chunks would pass by.
func TestTheShieldHidesBDATWhereItLooksIntoMessages(t *testing.T) {
	for _, c := range []struct {
		options map[string]any
		want    string
	}{
		{nil, "250-mail.example.com\r\n250-CHUNKING\r\n250 SIZE\r\n"},
		{map[string]any{"subject_length": int64(1000)}, "250-mail.example.com\r\n250 SIZE\r\n"},
	} {
		compiled, errs := heal.Compile([]string{"shield"}, map[string]map[string]any{"shield": c.options})
		if errs != nil {
			t.Fatal(errs)
		}
		d := rewrite.New(&rewrite.Policy{Rules: compiled}, player.Client(parseFile(t, "testdata/shield.txt")), silent{})
		defer d.Close()
		d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
		d.Command([]byte("EHLO client.example.net\r\n"), false)
		d.ToClient = nil
		d.Reply([]byte("250-mail.example.com\r\n250-CHUNKING\r\n250 SIZE\r\n"), false, false)
		if string(d.ToClient) != c.want {
			t.Errorf("with %v the client gets %q, want %q", c.options, d.ToClient, c.want)
		}
	}
}

// What these rules let pass costs nothing.
func TestTheShieldAllocatesNothingForACommandThatItLetsPass(t *testing.T) {
	compiled, errs := heal.Compile([]string{"shield", "exchange-5.5", "domino-5", "blank-lines", "other-protocols", "reply-codes", "status-codes", "upper-case-verbs", "strip-parameters", "split-auth-line", "reply-texts"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	reply := []byte("250 2.1.0 Ok\r\n")
	for _, line := range []string{"MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "RSET", "VRFY b", "XYZZY"} {
		d := rewrite.New(&rewrite.Policy{Rules: compiled, Turns: rewrite.NewTurns(4)}, mailClient, silent{})
		defer d.Close()
		d.Greeting([]byte("220 mail.example.com ESMTP\r\n"))
		ask(d, []byte("EHLO client.example.net\r\n"), ehloReply)
		command := []byte(line + "\r\n")
		if n := testing.AllocsPerRun(100, func() { ask(d, command, reply) }); n != 0 {
			t.Errorf("%s costs %v allocations", line, n)
		}
	}
}
