package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

// asks sends octets and gives the code of the reply to them.
func asks(t *testing.T, conn net.Conn, replies *bufio.Reader, octets string) string {
	t.Helper()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte(octets)); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := replies.ReadString('\n')
		if err != nil {
			t.Fatalf("after %.40q: %v", octets, err)
		}
		if len(line) > 3 && line[3] == ' ' {
			return line[:3]
		}
	}
}

// greetedClient is a client that has been greeted and has said EHLO, and the
// replies to it that follow.
func greetedClient(t *testing.T, dial smtptest.Dial) (conn net.Conn, replies *bufio.Reader) {
	t.Helper()
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	replies = bufio.NewReader(conn)
	asks(t, conn, replies, "")
	asks(t, conn, replies, "EHLO client.example.com\r\n")
	return conn, replies
}

// TestChunksBecomeOneMessageForAServerWithoutCHUNKING sends a message by BDAT
// in pieces cut anywhere, and compares what the server has stored.
func TestChunksBecomeOneMessageForAServerWithoutCHUNKING(t *testing.T) {
	const messages = 20
	server := startServer(t, legacyServer(t, "exchange-5.5"))
	_, dial := startProxy(t, &proxy.Route{Servers: []string{server.Addr()}, Rules: compile(t, "standard", "bdat-to-data")})
	conn, replies := greetedClient(t, dial)
	body := "Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n\r\n.\r\nMAIL FROM:<x@example.com>\r\n\xff\r\n"
	for seed := range uint64(messages) {
		asks(t, conn, replies, "MAIL FROM:<a@example.com>\r\n")
		asks(t, conn, replies, "RCPT TO:<b@example.net>\r\n")
		random := rand.New(rand.NewPCG(seed, 1))
		for rest := body; rest != ""; {
			n, last := 1+random.IntN(len(rest)), ""
			if n == len(rest) {
				last = " LAST"
			}
			if code := asks(t, conn, replies, fmt.Sprintf("BDAT %d%s\r\n%s", n, last, rest[:n])); code != "250" {
				t.Fatalf("a chunk of %d octets%s got %s", n, last, code)
			}
			rest = rest[n:]
		}
	}
	if code := asks(t, conn, replies, "QUIT\r\n"); code != "221" {
		t.Errorf("QUIT got %s", code)
	}
	server.Wait()
	got := server.Messages()
	if len(got) != messages {
		t.Fatalf("%d messages at the server, want %d", len(got), messages)
	}
	for _, m := range got {
		if string(m.Body) != body {
			t.Fatalf("the server has %q, want %q", m.Body, body)
		}
	}
}

// send delivers one message with a raw text after DATA, and gives the code of
// the answer to it, and of that to a QUIT.
func send(t *testing.T, r *proxy.Route, text string) (answer, quit string) {
	t.Helper()
	_, dial := startProxy(t, r)
	conn, replies := greetedClient(t, dial)
	for _, say := range []string{"MAIL FROM:<a@example.com>\r\n", "RCPT TO:<b@example.net>\r\n", "DATA\r\n"} {
		asks(t, conn, replies, say)
	}
	return asks(t, conn, replies, text), asks(t, conn, replies, "QUIT\r\n")
}

func TestARouteMayRefuseWhatItWouldMend(t *testing.T) {
	long := strings.Repeat("x", 999)
	large := strings.Repeat("a line\r\n", 20_000)
	strayRefused, lfEnds := withMode(t, "stray-bytes", "refuse"), fromLoopback(t, "lf-ends")
	for _, c := range []struct {
		name, text, answer string
		rules              *rewrite.Rules
		size               int64
		stored             string // "": nothing
	}{
		{"stray mended", "a\nb\x00\r\n.\r\n", "250", nil, 0, "a\r\nb \r\n"},
		{"stray refused", "a\nb\r\n.\r\n", "554", strayRefused, 0, ""},
		{"stray refused late", large + "a\rb\r\n" + large + ".\r\n", "554", strayRefused, 0, ""},
		{"clean where stray is refused", "a\r\n.\r\n", "250", strayRefused, 0, "a\r\n"},
		{"long passes", long + "\r\n.\r\n", "250", nil, 0, long + "\r\n"},
		{"long folded", long + "\r\n.\r\n", "250", withMode(t, "long-lines", "fold"), 0, long[1:] + "\r\n x\r\n"},
		{"long refused", long + "\r\n.\r\n", "554", withMode(t, "long-lines", "refuse"), 0, ""},
		{"too large", large + ".\r\n", "552", nil, 1000, ""},
		{"not too large", "a\r\n.\r\n", "250", nil, 1000, "a\r\n"},
		{"exactly as large as it may be", "a\r\n.\r\n", "250", nil, 3, "a\r\n"},
		{"an octet too large", "ab\r\n.\r\n", "552", nil, 3, ""},
		{"LF ends lines", "a\n..b\n.\n", "250", lfEnds, 0, "a\r\n.b\r\n"},
		{"LF ends lines and CRLF the message", "a\n.\r\n", "250", lfEnds, 0, "a\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := startServer(t, legacyServer(t, "exchange-5.5"))
			r := &proxy.Route{Servers: []string{server.Addr()}, Rules: c.rules, Limits: proxy.Limits{MessageSize: c.size}}
			answer, quit := send(t, r, c.text)
			if answer != c.answer || quit != "221" {
				t.Errorf("the message got %s and QUIT %s, want %s and 221", answer, quit, c.answer)
			}
			server.Wait()
			switch got := server.Messages(); {
			case c.stored == "" && len(got) > 0:
				t.Errorf("the server has %d messages, want none", len(got))
			case c.stored != "" && (len(got) != 1 || !bytes.Equal(got[0].Body, []byte(c.stored))):
				t.Errorf("the server has %q, want %q", got, c.stored)
			}
		})
	}
}

func TestCommandsMayEndWithLFWhereARuleSaysSo(t *testing.T) {
	server := startServer(t, legacyServer(t, "exchange-5.5"))
	for _, c := range []struct {
		rules *rewrite.Rules
		want  string
	}{{fromLoopback(t, "lf-ends"), "250"}, {compile(t, "standard"), "250"}, {compile(t, "standard", "-command-ends"), "500"}} {
		_, dial := startProxy(t, &proxy.Route{Servers: []string{server.Addr()}, Rules: c.rules})
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		replies := bufio.NewReader(conn)
		asks(t, conn, replies, "")
		if code := asks(t, conn, replies, "HELO client.example.com\n"); code != c.want {
			t.Errorf("HELO with LF got %s, want %s", code, c.want)
		}
		conn.Close()
	}
}

func TestSASLLinesMayEndWithLFFromNetworksNamedForIt(t *testing.T) {
	server, client := hello()
	challenge, clientChallenge := says("AUTH PLAIN", "334 ")
	server = list(server, challenge, steps(smtptest.Expect("AGEAYg=="), smtptest.Say("235 ok")), quitServer)
	client = list(client, clientChallenge, steps(smtptest.Send("AGEAYg==\n"), smtptest.Expect("235 ok")), quitClient)
	c := play(t, server, client, func(r *proxy.Route) { r.Rules = fromLoopback(t, "lf-ends") })
	wantEnd(t, c, "ok")
}

func TestSessionsAMinuteFromOneAddressAreLimited(t *testing.T) {
	server := startServer(t, legacyServer(t, "exchange-5.5"))
	r := &proxy.Route{Servers: []string{server.Addr()}, Limits: proxy.Limits{SessionsPerMinute: 2}}
	_, dial := startProxy(t, r)
	refused := 0
	for range 6 { // in one minute, or in two: four or two of them are too many
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		if asks(t, conn, bufio.NewReader(conn), "") == "421" {
			refused++
		}
		conn.Close()
	}
	if refused < 2 {
		t.Errorf("%d of 6 were refused, want 4, or 2 if a minute ended between", refused)
	}
}
