package proxy_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
)

const notALine = "500 5.5.2 a command ends with CRLF and has no bare CR, bare LF or NUL in it"

// hello is a server that offers these keywords, and its client, behind EHLO.
func hello(keywords ...string) (server, client []smtptest.Step) {
	reply := []string{"250-mail.example.com"}
	for _, k := range keywords {
		reply = append(reply, "250-"+k)
	}
	reply = append(reply, "250 HELP")
	server = []smtptest.Step{smtptest.Say(greeting), smtptest.Expect("EHLO client.example.com"), smtptest.Say(reply...)}
	client = []smtptest.Step{smtptest.Expect(greeting), smtptest.Say("EHLO client.example.com"), smtptest.Expect(reply...)}
	return server, client
}

func TestAClientLostInAMessageLeavesTheServerWithoutADot(t *testing.T) {
	for what, sent := range map[string]string{
		"at once": "", "in a line": "text\r\nmore", "behind a line": "text\r\n", "before the dot's end": "text\r\n.",
		"before the dot's LF": "text\r\n.\r", "behind a false end": "text\n.\n",
		"in a long one": strings.Repeat("0123456789\r\n", 20000),
	} {
		for how, end := range map[string]func(part) part{"FIN": asItIs, "RST": thenReset} {
			t.Run(how+" "+what, func(t *testing.T) {
				t.Parallel()
				server, client := through(endOfData)
				var got []byte
				s := startScripted(t, func(c net.Conn) error {
					if err := smtptest.Play(c, patience, server...); err != nil {
						return err
					}
					c.SetReadDeadline(time.Now().Add(patience))
					var err error
					got, err = io.ReadAll(c)
					return err
				})
				r := plainRoute(s)
				_, dial := startProxy(t, r)
				act(t, dial, end(plays(append(client, smtptest.Send(sent))...)))
				s.wait(t)
				if strings.Contains("\r\n"+string(got), "\r\n.\r\n") || strings.HasSuffix(string(got), "QUIT\r\n") {
					t.Errorf("the server got an end: %q", got[max(0, len(got)-40):])
				}
				wantEnd(t, r.Observer.(*counts), "client-lost")
				wantCount(t, r.Observer.(*counts), "message cut", 1)
			})
		}
	}
}

func TestAClientLostInACommandLeavesTheServerWithoutIt(t *testing.T) {
	for n := range endOfData {
		server, client := through(n)
		c := play(t, append(server, smtptest.ExpectEnd()), append(client, smtptest.Send(exchanges[n][0]+"\r"), smtptest.Close()), nil)
		wantEnd(t, c, "client-lost")
	}
}

func TestAClientThatSendsAllAndHalfClosesGetsEveryReply(t *testing.T) {
	server, client := through(0)
	for _, e := range exchanges {
		server = append(server, smtptest.Expect(strings.Split(e[0], "\r\n")...), smtptest.Say(e[1]))
	}
	server = append(server, quitServer...)
	s := startScripted(t, plays(server...))
	r := plainRoute(s)
	_, dial := startProxy(t, r)
	act(t, dial, func(c net.Conn) error {
		var all, replies []string
		for _, e := range exchanges {
			all, replies = append(all, e[0]), append(replies, e[1])
		}
		all = append(all, "QUIT")
		replies = append(replies, "221 2.0.0 bye")
		if err := smtptest.Play(c, patience, append(client, smtptest.Say(all...))...); err != nil {
			return err
		}
		c.(*net.TCPConn).CloseWrite()
		return smtptest.Play(c, patience, smtptest.Expect(replies...), smtptest.ExpectEnd())
	})
	s.wait(t)
	wantEnd(t, r.Observer.(*counts), "ok")
	wantCount(t, r.Observer.(*counts), "message accepted", 1)
}

func TestWhatIsNoCommandLineIsRefusedAndTheSessionStaysInStep(t *testing.T) {
	long := strings.Repeat("x", 4096)
	for _, test := range []struct{ sent, hears, ends string }{
		{"EHLO a\rMAIL FROM:<x@example.com>\r\n", notALine, "refused"},
		{"NOOP\n", notALine, "ok"},
		{"NOOP\r\r\n", notALine, "ok"},
		{"\r\r\n", notALine, "ok"},
		{"\n", notALine, "ok"},
		{"NO\x00OP\r\n", notALine, "ok"},
		{"AUTH PLAIN \x00\r\n", notALine, "refused"},
		{"XCLIENT\r ADDR=192.0.2.1\r\n", notALine, "ok"},
		{"NOOP " + long[:4096-len("NOOP \r\n")+1] + "\r\n", "500 5.5.2 line too long", "ok"},
		{"NOOP " + long + long + long + "\r\n", "500 5.5.2 line too long", "ok"},
		{"NOOP " + strings.Repeat(long, 200) + "\r\n", "500 5.5.2 line too long", "ok"},
	} {
		server, client := through(1)
		client = append(client, smtptest.Send(test.sent+"QUIT\r\n"), smtptest.Expect(test.hears), smtptest.Expect("221 2.0.0 bye"),
			smtptest.ExpectEnd())
		c := play(t, append(server, quitServer...), client, nil)
		wantEnd(t, c, test.ends)
	}
}

func TestTheLongestCommandLinePasses(t *testing.T) {
	noop := "NOOP " + strings.Repeat("x", 4096-len("NOOP \r\n"))
	server, client := through(1)
	c := play(t, append(append(server, smtptest.Expect(noop), smtptest.Say("250 ok")), quitServer...),
		append(append(client, smtptest.Say(noop), smtptest.Expect("250 ok")), quitClient...), nil)
	wantEnd(t, c, "ok")
}

func TestALineThatIsTooLongInAGroupIsAnsweredInItsPlace(t *testing.T) {
	for _, length := range []int{600, 4097, 5000, 9000, 20000} {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			server, client := hello("PIPELINING")
			server = append(server, smtptest.Expect("MAIL FROM:<a@example.com>"), smtptest.Say("250 mail"),
				smtptest.Expect("RCPT TO:<b@example.net>"), smtptest.Say("250 rcpt"))
			client = append(client, smtptest.Say("MAIL FROM:<a@example.com>", "RCPT TO:<"+strings.Repeat("x", length)+">",
				"RCPT TO:<b@example.net>", "QUIT"),
				smtptest.Expect("250 mail", "500 5.5.2 line too long", "250 rcpt", "221 2.0.0 bye"), smtptest.ExpectEnd())
			c := play(t, append(server, quitServer...), client, func(r *proxy.Route) { r.Limits.CommandLine = 512 })
			wantEnd(t, c, "refused")
		})
	}
}

func TestTooManyLinesThatAreNoneEndTheSession(t *testing.T) {
	server, client := through(1)
	client = append(client, smtptest.Send("a\nb\nc\nd\n"), smtptest.Expect(notALine, notALine, notALine),
		smtptest.Expect("421 4.7.0 too many errors"), smtptest.ExpectEnd())
	c := play(t, append(server, smtptest.ExpectEnd()), client, func(r *proxy.Route) { r.Limits.Errors = 3 })
	wantEnd(t, c, "client-protocol")
}

// The server must see no command in what was sent with DATA.
func TestAMessageThatIsSentWithDATAIsHeldUntil354(t *testing.T) {
	server, client := through(endOfData - 1)
	server = append(server, smtptest.Expect("DATA"), smtptest.Say("354 go ahead"),
		smtptest.Expect("RSET", "."), smtptest.Say("250 2.0.0 taken"))
	client = append(client, smtptest.Say("DATA", "RSET", "."), smtptest.Expect("354 go ahead", "250 2.0.0 taken"))
	c := play(t, append(server, quitServer...), append(client, quitClient...), nil)
	wantEnd(t, c, "ok")
	wantCount(t, c, "message accepted", 1)
}

func TestAMessageThatIsSentWithDATAIsNeverRunAsCommands(t *testing.T) {
	const early = "554 5.5.0 the message was sent before DATA was accepted"
	for _, refusal := range []string{"554 5.5.1 no recipients", "451 4.3.0 later", "503 no"} {
		server, client := through(endOfData - 1)
		server = append(server, smtptest.Expect("DATA"), smtptest.Say(refusal), smtptest.ExpectEnd())
		client = append(client, smtptest.Say("DATA", "RSET", "MAIL FROM:<evil@example.com>", "."),
			smtptest.Expect(refusal, early), smtptest.ExpectEnd())
		c := play(t, server, client, nil)
		wantEnd(t, c, "client-protocol")
	}
}

func TestAMessageThatOvertakesTheAnswerToDATAIsNeverRunAsCommands(t *testing.T) {
	server, client := through(endOfData - 1)
	asked, sent := make(chan struct{}), make(chan struct{})
	server = append(server, smtptest.Expect("DATA"), smtptest.Pause(func() { close(asked); <-sent }), smtptest.Say("554 5.5.1 no"),
		smtptest.ExpectEnd())
	client = append(client, smtptest.Say("DATA"), smtptest.Pause(func() { <-asked }), smtptest.Say("RSET"),
		smtptest.Pause(func() { close(sent) }),
		smtptest.Expect("554 5.5.1 no", "554 5.5.0 the message was sent before DATA was accepted"), smtptest.ExpectEnd())
	c := play(t, server, client, nil)
	wantEnd(t, c, "client-protocol")
}

func TestARefusedDATAIsNoMistakeOfAClientThatWaits(t *testing.T) {
	server, client := through(endOfData - 1)
	server = append(server, smtptest.Expect("DATA"), smtptest.Say("554 5.5.1 no recipients"))
	client = append(client, smtptest.Say("DATA"), smtptest.Expect("554 5.5.1 no recipients"))
	c := play(t, append(server, quitServer...), append(client, quitClient...), nil)
	wantEnd(t, c, "refused")
}

func TestChunksPassByTheirCount(t *testing.T) {
	const inside = "\r\n.\r\nEHLO bad_host\r\nSTARTTLS\r\nBDAT 9 LAST\r\n\x00\n"
	bdat := fmt.Sprintf("BDAT %d", len(inside))
	server, client := hello("CHUNKING")
	server = append(server, smtptest.Expect(bdat), smtptest.ExpectOctets(inside), smtptest.Say("250 part"),
		smtptest.Expect(bdat+" LAST"), smtptest.ExpectOctets(inside), smtptest.Say("250 taken"),
		smtptest.Expect("BDAT 0 LAST"), smtptest.Say("503 no"))
	client = append(client, smtptest.Say(bdat), smtptest.Send(inside), smtptest.Expect("250 part"),
		smtptest.Send(bdat+" LAST\r\n"+inside), smtptest.Expect("250 taken"),
		smtptest.Say("BDAT 0 LAST"), smtptest.Expect("503 no"))
	c := play(t, append(server, quitServer...), append(client, quitClient...), nil)
	wantEnd(t, c, "refused")
	wantCount(t, c, "message accepted", 1)
	wantCount(t, c, "message refused", 1)
}

// A refused chunk fails the message, which is counted once, and its octets are not those of
// the next message.
func TestAMessageWithARefusedChunkCountsOnce(t *testing.T) {
	for name, rest := range map[string][2][]smtptest.Step{
		"given up": {steps(smtptest.Expect("RSET"), smtptest.Say("250 reset")), steps(smtptest.Say("RSET"), smtptest.Expect("250 reset"))},
		"sent on": {
			steps(smtptest.Expect("BDAT 2"), smtptest.ExpectOctets("cd"), smtptest.Say("503 no"), smtptest.Expect("BDAT 0 LAST"), smtptest.Say("503 no")),
			steps(smtptest.Say("BDAT 2"), smtptest.Send("cd"), smtptest.Expect("503 no"), smtptest.Say("BDAT 0 LAST"), smtptest.Expect("503 no")),
		},
		"sent on behind another MAIL": {
			steps(smtptest.Expect("MAIL FROM:<c@example.com>"), smtptest.Say("503 nested"), smtptest.Expect("BDAT 0 LAST"), smtptest.Say("503 no")),
			steps(smtptest.Say("MAIL FROM:<c@example.com>"), smtptest.Expect("503 nested"), smtptest.Say("BDAT 0 LAST"), smtptest.Expect("503 no")),
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := hello("CHUNKING")
			mail := func(chunk, answer string) {
				server = append(server, smtptest.Expect("MAIL FROM:<a@example.com>"), smtptest.Say("250 mail"), smtptest.Expect(chunk),
					smtptest.ExpectOctets("ab"), smtptest.Say(answer))
				client = append(client, smtptest.Say("MAIL FROM:<a@example.com>"), smtptest.Expect("250 mail"), smtptest.Say(chunk),
					smtptest.Send("ab"), smtptest.Expect(answer))
			}
			mail("BDAT 2", "552 no room")
			server, client = append(server, rest[0]...), append(client, rest[1]...)
			mail("BDAT 2 LAST", "250 taken")
			c := play(t, append(server, quitServer...), append(client, quitClient...), nil)
			wantEnd(t, c, "refused")
			wantCount(t, c, "message refused", 1)
			wantCount(t, c, "message accepted", 1)
			wantCount(t, c, "message octets", 4)
		})
	}
}

// However such a session ends, the message was refused, and is neither cut nor unknown.
func TestAMessageWithARefusedChunkCountsOnceWhoeverIsLost(t *testing.T) {
	refused := func(chunk string) (server, client []smtptest.Step) {
		server, client = hello("CHUNKING")
		return append(server, smtptest.Expect("BDAT 2"), smtptest.ExpectOctets("ab"), smtptest.Say("552 no room"), smtptest.Expect(chunk)),
			append(client, smtptest.Say("BDAT 2"), smtptest.Send("ab"), smtptest.Expect("552 no room"), smtptest.Say(chunk))
	}
	for name, lose := range map[string]func(server, client []smtptest.Step) (_, _ []smtptest.Step){
		"the client": func(server, client []smtptest.Step) (_, _ []smtptest.Step) {
			return append(server, smtptest.ExpectOctets("cd"), smtptest.ExpectEnd()), append(client, smtptest.Send("cd"))
		},
		"the server": func(server, client []smtptest.Step) (_, _ []smtptest.Step) {
			return append(server, smtptest.ExpectOctets("cdcd")), append(client, smtptest.Send("cdcd"),
				smtptest.Expect("421 4.4.2 connection to server lost"), smtptest.ExpectEnd())
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := lose(refused("BDAT 4 LAST"))
			n := play(t, server, client, nil)
			if o := n.outcome(t); o == "unknown" {
				t.Errorf("the session ended %s", o)
			}
			wantCount(t, n, "message refused", 1)
			wantCount(t, n, "message cut", 0)
			wantCount(t, n, "message unknown", 0)
		})
	}
}

func TestAMalformedBDATEndsTheSession(t *testing.T) {
	for _, argument := range []string{"+5 LAST", "-1", "0x5", "5x", "5.0", "5,LAST", "5 FIRST", "5 LAST LAST", "5 LAST ", " 5",
		"18446744073709551621", "9223372036854775808", "4294967301", "2147483648", "00000000004294967301", "5\t", "5\tLAST", "5  LAST", "\u0665", "", "LAST"} {
		for _, keyword := range []string{"CHUNKING", "X-NONE"} {
			server, client := hello(keyword)
			client = append(client, smtptest.Send("BDAT "+argument+"\r\nhello"),
				smtptest.Expect("501 5.5.4 BDAT wants a number of octets, and LAST or nothing"), smtptest.ExpectEnd())
			c := play(t, append(server, smtptest.ExpectEnd()), client, nil)
			if o := c.outcome(t); o != "client-protocol" {
				t.Errorf("BDAT %s: ended %s", argument, o)
			}
		}
	}
}

// Its octets would be read as commands, in one segment or in several.
func TestABDATThatIsNoLineEndsTheSession(t *testing.T) {
	const text = "XCLIENT ADDR=192.0.2.1\r\nMAIL FROM:<a@example.com>\r\n"
	for _, line := range []string{"BDAT 50\x00\r\n", "bdat\r50 LAST\r\n", "BDAT 50\n", "\tBDAT 50\n", "\x00BDAT 50\r\n",
		"BDAT " + strings.Repeat("0", 5000) + "50\r\n", " bdat " + strings.Repeat("0", 200_000) + "50 LAST\r\n"} {
		for _, split := range []bool{false, true} {
			server, client := hello("CHUNKING")
			if split {
				half := len(line) / 2
				client = append(client, smtptest.Send(line[:half]), smtptest.Send(line[half:]))
			} else {
				client = append(client, smtptest.Send(line+text))
			}
			client = append(client, smtptest.ExpectOctets("501 5.5.4 "))
			c := play(t, append(server, smtptest.ExpectEnd()), client, nil)
			wantEnd(t, c, "client-protocol")
		}
	}
}

func TestBDATThatWasNotOfferedIsRefusedAndItsOctetsDropped(t *testing.T) {
	chunk := "NOOP\r\nMAIL FROM:<evil@example.com>\r\n" + strings.Repeat("x", 10000)
	server, client := hello()
	client = append(client, smtptest.Send(fmt.Sprintf("BDAT %d LAST\r\n", len(chunk))+chunk),
		smtptest.Expect("502 5.5.1 BDAT was not offered"))
	c := play(t, append(server, quitServer...), append(client, quitClient...), nil)
	wantEnd(t, c, "refused")
}

func TestAnAnswerBeforeTheEndOfAChunkIsNoYes(t *testing.T) {
	for _, test := range []struct{ says, hears, outcome string }{
		{"250 taken", broken, "server-protocol"},
		{"552 too big", "552 too big", "refused"},
	} {
		server, client := hello("CHUNKING")
		said := make(chan struct{})
		server = append(server, smtptest.Expect("BDAT 10 LAST"), smtptest.ExpectOctets("12345"), smtptest.Say(test.says),
			smtptest.Pause(func() { close(said) }))
		client = append(client, smtptest.Send("BDAT 10 LAST\r\n12345"), smtptest.Pause(func() { <-said }), smtptest.Send("67890"),
			smtptest.Expect(test.hears))
		if test.outcome == "refused" {
			server = append(append(server, smtptest.ExpectOctets("67890")), quitServer...)
			client = append(client, quitClient...)
		} else {
			server = append(server, smtptest.ExpectEnd())
			client = append(client, smtptest.ExpectEnd())
		}
		c := play(t, server, client, nil)
		wantEnd(t, c, test.outcome)
		wantCount(t, c, "message accepted", 0)
	}
}

// One reply too many, and every later one is that of the command before.
func TestRepliesOutOfStepAreNeverAYesToAMessage(t *testing.T) {
	server, client := hello("CHUNKING", "PIPELINING")
	server = append(server, smtptest.Expect("MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>"),
		smtptest.Say("250 mail", "250 mail again", "250 rcpt"), smtptest.ExpectEnd())
	client = append(client, smtptest.Send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nBDAT 5 LAST\r\nhello"),
		smtptest.Expect("250 mail", "250 mail again", broken), smtptest.ExpectEnd())
	c := play(t, server, client, nil)
	wantEnd(t, c, "server-protocol") // the message has not been sent at all
	wantCount(t, c, "message accepted", 0)
}

func TestWhatTheServerWouldTrustUsForIsRefused(t *testing.T) {
	server, client := through(1)
	for _, said := range []string{"XCLIENT ADDR=192.0.2.1", "xclient ADDR=192.0.2.1", " XCLIENT NAME=x", "\tXForward ADDR=192.0.2.1",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 2", "PROXY UNKNOWN", "TURN", "ATRN example.com", "XEXCH50 10 2", "X-LINK2STATE LAST CHUNK={00}"} {
		client = append(client, smtptest.Say(said), smtptest.Expect("502 5.5.1 command not available here"))
	}
	c := play(t, append(server, quitServer...), append(client, quitClient...), nil)
	wantEnd(t, c, "ok")
}

func TestWhatWeCannotCarryIsNotOffered(t *testing.T) {
	server := []smtptest.Step{smtptest.Say(greeting), smtptest.Expect("EHLO client.example.com"),
		smtptest.Say("250-mail.example.com", "250-XCLIENT NAME ADDR", "250-SIZE", "250-XFORWARD NAME", "250-TURN", "250-ATRN",
			"250-XEXCH50", "250-X-LINK2STATE", "250 HELP")}
	client := []smtptest.Step{smtptest.Expect(greeting), smtptest.Say("EHLO client.example.com"),
		smtptest.Expect("250-mail.example.com", "250-SIZE", "250 HELP")}
	play(t, append(server, quitServer...), append(client, quitClient...), nil)
}

func TestTooManySessionsAreRefusedBeforeAServerIsDialled(t *testing.T) {
	for reason, limits := range map[string]proxy.Limits{
		"sessions": {Sessions: 2}, "sessions-per-address": {SessionsPerAddress: 2},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			server := startServer(t, legacyServer(t, "modern"))
			r := &proxy.Route{Servers: []string{server.Addr()}, Observer: newCounts(), Limits: limits}
			_, dial := startProxy(t, r)
			c := r.Observer.(*counts)
			first, second := admitted(t, dial), admitted(t, dial)
			for range 3 {
				act(t, dial, plays(smtptest.Expect("421 4.7.0 too many sessions, try again later"), smtptest.ExpectEnd()))
			}
			wantCount(t, c, "refused "+reason, 3)
			wantCount(t, c, "connected", 2)
			first.Close()
			c.outcome(t)
			third := admitted(t, dial)
			second.Close()
			third.Close()
			c.outcome(t)
			c.outcome(t)
			wantCount(t, c, "began", 3)
		})
	}
}

// admitted is a client that has been greeted.
func admitted(t *testing.T, dial smtptest.Dial) net.Conn {
	t.Helper()
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetReadDeadline(time.Now().Add(patience))
	line := make([]byte, 4)
	if _, err := io.ReadFull(conn, line); err != nil || string(line) != "220 " {
		t.Fatalf("greeted with %q, %v", line, err)
	}
	return conn
}
