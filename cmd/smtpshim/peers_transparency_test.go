//go:build linux

package main

import (
	"bytes"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest/real"
)

func TestModernServersSeeEachOtherByteForByte(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		rules []string
		tls   string // of the sending Postfix
		must  []string
	}{
		{"no rules, in clear", []string{}, "none", modern},
		{"no rules, STARTTLS", []string{}, "encrypt", []string{"STARTTLS\r\n\x16\x03"}},
		{"standard, in clear", []string{"standard"}, "none", modern},
		{"standard, STARTTLS", []string{"standard"}, "encrypt", []string{"STARTTLS\r\n\x16\x03"}},
		{"auto, in clear", []string{"auto"}, "none", modern},
		{"auto, STARTTLS", []string{"auto"}, "encrypt", []string{"STARTTLS\r\n\x16\x03"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ca := real.NewCA(t)
			to := real.Postfix(t, real.Options{CA: ca, Users: map[string]string{"user": "right"}})
			before := newTap(t, to.Addr)
			through := startShim(t, shimOptions{server: before.addr, rules: c.rules})
			after := newTap(t, through.addr)
			from := real.Postfix(t, real.Options{Relay: after.addr, RelayTLS: c.tls, Login: "user:right"})
			inject(t, from.Addr)
			wantStored(t, to, 1, "hello\n.\n.dot\ngr\xc3\xbc\xc3\x9fe \xff\n")
			compare(t, after.wait(t), before.wait(t), c.must)
		})
	}
}

func TestChunksPassByteForByte(t *testing.T) {
	t.Parallel()
	for _, rules := range []string{"standard", "auto"} {
		t.Run(rules, func(t *testing.T) {
			t.Parallel()
			to := real.Postfix(t, real.Options{})
			before := newTap(t, to.Addr)
			through := startShim(t, shimOptions{server: before.addr, rules: []string{rules}})
			after := newTap(t, through.addr)
			from := real.Exim(t, real.Options{Relay: after.addr})
			from.Sendmail(t, "Subject: chunks\n\nhello\n.\n..two\n", "-f", "sender@example.com", "recipient@example.com")
			wantStored(t, to, 1, "hello\n.\n..two\n")
			compare(t, after.wait(t), before.wait(t), []string{"\r\nBDAT "})
		})
	}
}

// modern is what a modern client says in clear when it sends inject's message.
var modern = []string{
	"AUTH PLAIN ", "MAIL FROM:<s\xc3\xa9nder@example.com>", " BODY=8BITMIME", " SMTPUTF8", " RET=HDRS", " ENVID=qq",
	" NOTIFY=FAILURE,DELAY", "\r\nDATA\r\n", "\r\n..\r\n", "\r\nQUIT\r\n",
}

// inject gives a Postfix a message that needs every extension.
func inject(t *testing.T, addr string) {
	t.Helper()
	c := dial(t, addr)
	c.say("EHLO client.example.com")
	c.say("MAIL FROM:<s\xc3\xa9nder@example.com> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=qq",
		"RCPT TO:<r\xc3\xa9cipient@example.com> NOTIFY=FAILURE,DELAY", "DATA")
	c.say("Subject: gr\xc3\xbc\xc3\x9fe\r\n\r\nhello\r\n..\r\n..dot\r\ngr\xc3\xbc\xc3\x9fe \xff\r\n.")
	c.say("QUIT")
}

// compare wants that what was said before and behind smtpshim is the same, and
// that what the client must say is in it.
func compare(t *testing.T, client, server stream, must []string) {
	t.Helper()
	for _, text := range must {
		if !strings.Contains(string(client.client), text) {
			t.Errorf("the client never said %q: %.2000q", text, client.client)
		}
	}
	if !bytes.Equal(client.client, server.client) {
		t.Errorf("the client said\n%.2000q\nand the server heard\n%.2000q", client.client, server.client)
	}
	if !bytes.Equal(client.server, server.server) {
		t.Errorf("the server said\n%.2000q\nand the client heard\n%.2000q", server.server, client.server)
	}
}
