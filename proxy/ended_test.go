package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

// An ending is the line of the log at the end of a session.
type ending struct {
	Level, Msg, Outcome, While, Err string
	Refused, Text, Rules, Means, Do string
	Products                        string
	ClientAuth                      string `json:"client_auth"`
	ServerAuth                      string `json:"server_auth"`
	Code                            int
}

// logged is a proxy for one route that writes its log into b.
func logged(t *testing.T, r *proxy.Route, b *bytes.Buffer) (*proxy.Proxy, smtptest.Dial) {
	t.Helper()
	r.Name, r.Listen = "test", []string{"127.0.0.1:0"}
	p := &proxy.Proxy{Logger: slog.New(slog.NewJSONHandler(b, nil))}
	if err := p.Apply([]*proxy.Route{r}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, func() (net.Conn, error) { return net.Dial("tcp", p.Addr(r.Listen[0]).String()) }
}

// endOf plays one session, and gives how it ended.
func endOf(t *testing.T, server, client []smtptest.Step, change func(*proxy.Route)) ending {
	t.Helper()
	s := startScripted(t, plays(server...))
	r := plainRoute(s)
	if change != nil {
		change(r)
	}
	var log bytes.Buffer
	p, dial := logged(t, r, &log)
	act(t, dial, plays(client...))
	s.wait(t)
	r.Observer.(*counts).outcome(t)
	p.Close() // which waits for the log
	return endIn(t, &log)
}

func endIn(t *testing.T, log *bytes.Buffer) ending {
	t.Helper()
	var found []ending
	for line := range bytes.Lines(log.Bytes()) {
		var e ending
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if e.Msg == "session" {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%q has not one line about a session", log)
	}
	return found[0]
}

const stray = "554 5.6.0 the message has a bare CR, a bare LF or a NUL in it"

func TestTheLogSaysWhyASessionEnded(t *testing.T) {
	_, theirs := testTLS(t)
	const tooEarly = "554 5.5.0 the message was sent before DATA was accepted"
	const behindSTARTTLS = "554 5.5.0 nothing may be sent behind STARTTLS before its answer"
	const badSASL = "500 5.5.2 a SASL line ends with CRLF and has no bare CR, bare LF or NUL in it"
	const badChunk = "501 5.5.4 BDAT wants a number of octets, and LAST or nothing"
	require, opportunity := serverLeg(rewrite.ServerTLSRequire, theirs), serverLeg(rewrite.ServerTLSOpportunistic, theirs)
	offer := clientLeg(rewrite.ClientTLSOffer, &tls.Config{})
	refuse := func(r *proxy.Route) { r.Rules = withMode(t, "stray-bytes", "refuse") }
	send, say, hear := smtptest.Send, smtptest.Say, smtptest.Expect
	for name, test := range map[string]struct {
		before         int // of exchanges
		server, client []smtptest.Step
		change         func(*proxy.Route)
		outcome, why   string
	}{
		"mistakes": {1, nil, steps(send("a\nb\n"), hear(notALine, "421 4.7.0 too many errors")),
			func(r *proxy.Route) { r.Limits.Errors = 1 }, "client-protocol", "421 4.7.0 too many errors"},
		"small talk": {1, nil, steps(say("NOOP"), hear("421 4.7.0 too many commands without a message")),
			func(r *proxy.Route) { r.Limits.Idle = 1 }, "client-protocol", "421 4.7.0 too many commands without a message"},
		"a message with DATA": {3, steps(hear("DATA"), say("554 no")), steps(say("DATA", "text", "."), hear("554 no", tooEarly)),
			nil, "client-protocol", tooEarly},
		"behind STARTTLS": {0, nil, steps(say("STARTTLS", "NOOP"), hear(behindSTARTTLS)), offer, "client-protocol", behindSTARTTLS},
		"a SASL line": {1, steps(hear("AUTH PLAIN"), say("334 ")), steps(say("AUTH PLAIN"), hear("334 "), send("x\n"), hear(badSASL)),
			nil, "client-protocol", badSASL},
		"a chunk": {1, nil, steps(say("BDAT x"), hear(badChunk)), nil, "client-protocol", badChunk},
		"no STARTTLS": {0, steps(hear("EHLO c"), say("250 m")), steps(say("EHLO c"), hear(noTLS), say("QUIT")),
			require, "tls", "the server offers no STARTTLS"},
		"no STARTTLS, and no QUIT": {0, steps(hear("EHLO c"), say("250 m")), steps(say("EHLO c"), hear(noTLS)),
			require, "tls", "the server offers no STARTTLS"},
		"STARTTLS refused": {0, steps(hear("EHLO c"), say("250-m", "250 STARTTLS"), hear("STARTTLS"), say("454 not today")),
			steps(say("EHLO c"), hear(noTLS), say("QUIT")), require, "tls", "the server refused STARTTLS"},
		"a 421": {1, steps(hear("NOOP"), say("421 bye")), steps(say("NOOP"), hear("421 bye")), nil, "server-lost", "the server said 421"},
		"a server that hangs up": {1, steps(hear("NOOP"), smtptest.Close()), steps(say("NOOP"), hear(lost)),
			opportunity, "server-lost", lost},
		"a refused message": {endOfData, nil, steps(send("text\n\r\n.\r\n"), hear(stray), say("RSET"), hear("250 2.0.0 ok")),
			refuse, "message-refused", stray},
		"a refused message, and no QUIT": {endOfData, nil, steps(send("text\n\r\n.\r\n"), hear(stray)), refuse, "message-refused", stray},
		"an early answer": {endOfData, steps(say("552 too big")),
			steps(send(strings.Repeat("text\r\n", 50000)+".\r\n"), hear("552 too big"), say("RSET"), hear("250 2.0.0 ok")),
			nil, "server-lost", "the server answered before the message had ended"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := through(test.before)
			e := endOf(t, list(server, test.server), list(client, test.client), test.change)
			if e.Outcome != test.outcome || !strings.Contains(e.Err, test.why) || e.Level != "WARN" || e.While == "" {
				t.Errorf("%+v, want %s, %q", e, test.outcome, test.why)
			}
		})
	}
}

// What went wrong first may not be what ended it.
func TestTheLogKeepsTheTroubleBeforeTheReason(t *testing.T) {
	server, client := through(0)
	e := endOf(t, server, append(client, smtptest.Say("BDAT x"), smtptest.Expect("501 5.5.4 BDAT wants a number of octets, and LAST or nothing")),
		func(r *proxy.Route) { r.Servers = append([]string{"127.0.0.1:0"}, r.Servers...) })
	first, then, _ := strings.Cut(e.Err, "; then ")
	if !strings.HasPrefix(first, "server 127.0.0.1:0: ") || !strings.Contains(then, "501 5.5.4") {
		t.Errorf("%+v", e)
	}
}

func TestAClientThatHangsUpIsWarnedOfOnlyIfMailIsUnderWay(t *testing.T) {
	for n, level := range map[int]string{0: "INFO", 1: "INFO", 2: "WARN", endOfData: "WARN", len(exchanges): "INFO"} {
		t.Run(fmt.Sprint("behind ", n), func(t *testing.T) {
			t.Parallel()
			server, client := through(n)
			client = append(client, smtptest.Send("NOO")) // or it would be silent
			if e := endOf(t, server, client, nil); e.Outcome != "client-lost" || e.Level != level || e.While == "" {
				t.Errorf("%+v, want %s", e, level)
			}
		})
	}
}

func TestWhatIsCutOffByTheEndOfDrainingIsSaidToBe(t *testing.T) {
	inMessage := func(n int) (server, client []smtptest.Step) {
		server, client = through(n)
		return append(server, smtptest.Expect("text")), append(client, smtptest.Say("text"))
	}
	for name, test := range map[string]struct {
		exchanges func(int) (server, client []smtptest.Step)
		n         int
		outcome   string
	}{
		"in a transaction": {through, 2, "cut-off"},
		"before a reply":   {asked, 2, "cut-off"},
		"in a message":     {inMessage, endOfData, "cut-off"},
		"behind the dot":   {asked, endOfData, "unknown"}, // the server may have it
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reached := make(chan struct{})
			server, client := test.exchanges(test.n)
			s := startScripted(t, func(c net.Conn) error {
				err := smtptest.Play(c, patience, server...)
				close(reached)
				io.Copy(io.Discard, c)
				return err
			})
			r := plainRoute(s)
			var log bytes.Buffer
			p, dial := logged(t, r, &log)
			ctx, cancel := context.WithCancel(t.Context())
			var done chan error
			act(t, dial, plays(append(client, smtptest.Pause(func() {
				<-reached
				done = drained(p, ctx)
				cancel()
			}), smtptest.ExpectEnd())...))
			wantDrained(t, done, context.Canceled)
			s.wait(t)
			wantEnd(t, r.Observer.(*counts), test.outcome)
			if e := endIn(t, &log); e.Level != "WARN" || e.Outcome != test.outcome || e.While == "" || e.Err != "" {
				t.Errorf("%+v", e)
			}
			for _, reason := range []string{"lost", "timeout", "protocol"} {
				wantCount(t, r.Observer.(*counts), "failed "+reason, 0)
			}
		})
	}
}

func TestTheLogNamesTheRuleThatMendedAMessage(t *testing.T) {
	for name, test := range map[string]struct{ rule, sent, got string }{
		"CR CR LF":             {"stray-bytes", "Subject: x\r\r\n\r\r\ntext\r\r\n.\r\n", "Subject: x\r\n\r\ntext\r\n.\r\n"},
		"a dot and CR CR LF":   {"stray-bytes", "\r\n.\r\r\n.\r\n", "\r\n..\r\n.\r\n"},
		"LF":                   {"stray-bytes", "Subject: x\n\ntext\r\n.\r\n", "Subject: x\r\n\r\ntext\r\n.\r\n"},
		"LF and a doubled dot": {"stray-bytes", "\n..text\n..\r\n.\r\n", "\r\n..text\r\n..\r\n.\r\n"},
		"LF and a single dot":  {"stray-bytes", "\n.text\n..\r\n.\r\n", "\r\n..text\r\n...\r\n.\r\n"},
		"CR":                   {"stray-bytes", "a\rb\r\n.\r\n", "a b\r\n.\r\n"},
		"NUL":                  {"stray-bytes", "a\x00b\r\n.\r\n", "a b\r\n.\r\n"},
		"lf_ends":              {"lf-ends", "a\n..b\n.\n", "a\r\n..b\r\n.\r\n"},
		"lf_ends, single dot":  {"lf-ends", "a\n.b\n.\n", "a\r\n..b\r\n.\r\n"},
		"a long line":          {"long-lines", strings.Repeat("x", 999) + "\r\n.\r\n", strings.Repeat("x", 998) + "\r\n x\r\n.\r\n"},
		"nothing":              {"", "text\r\n.\r\n", "text\r\n.\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, client := through(endOfData)
			var c *counts
			server = list(server, steps(smtptest.ExpectOctets(test.got), smtptest.Say("250 ok")), quitServer)
			client = list(client, steps(smtptest.Send(test.sent), smtptest.Expect("250 ok")), quitClient)
			e := endOf(t, server, client,
				func(r *proxy.Route) {
					r.Rules, c = compile(t, strings.Fields("stray-bytes "+strings.TrimPrefix(test.rule, "stray-bytes"))...), r.Observer.(*counts)
				})
			if e.Rules != test.rule || e.Outcome != "ok" {
				t.Errorf("%+v, want the rule %q", e, test.rule)
			}
			if test.rule != "" {
				wantCount(t, c, "rule "+test.rule, 1)
			}
		})
	}
}

func TestAGoodbyeIsNoAnswerToAMail(t *testing.T) {
	for verb, before := range map[string]int{"MAIL": 1, "RCPT": 2, "DATA": 3, "end-of-data": 4} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			server, client := asked(before)
			var c *counts
			e := endOf(t, append(server, smtptest.Say("221 2.0.0 bye"), smtptest.ExpectEnd()), append(client, smtptest.Expect(lost), smtptest.ExpectEnd()),
				func(r *proxy.Route) { c = r.Observer.(*counts) })
			if e.Outcome != "server-lost" && e.Outcome != "unknown" || !strings.Contains(e.Err, "221 2.0.0 bye") {
				t.Errorf("%+v, want server-lost or unknown, and what the server said", e)
			}
			wantCount(t, c, "message accepted", 0)
			if verb == "end-of-data" {
				wantCount(t, c, "message unknown", 1)
			}
		})
	}
}

// A server that throws away a group but for its QUIT gets the QUIT once the group has
// been answered.
func TestAServerThatHearsOnlyTheQUITOfAGroupGetsIt(t *testing.T) {
	server, client := hello("PIPELINING")
	lossy := func(conn net.Conn) error {
		if err := plays(server...)(conn); err != nil {
			return err
		}
		conn.SetDeadline(time.Now().Add(patience))
		in := bufio.NewReader(conn)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return err
			}
			rest, _ := in.Peek(in.Buffered())
			if i := bytes.Index(rest, []byte("QUIT\r\n")); i >= 0 {
				in.Discard(i)
				continue
			}
			if line == "QUIT\r\n" {
				_, err := conn.Write([]byte("221 2.0.0 bye\r\n"))
				return err
			}
			if _, err := conn.Write([]byte("250 2.0.0 " + line)); err != nil {
				return err
			}
		}
	}
	s := startScripted(t, lossy)
	r := plainRoute(s)
	_, dial := startProxy(t, r)
	act(t, dial, plays(list(client, steps(smtptest.Send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nRSET\r\nQUIT\r\n"),
		smtptest.Expect("250 2.0.0 MAIL FROM:<a@example.com>"), smtptest.Expect("250 2.0.0 RCPT TO:<b@example.net>"), smtptest.Expect("250 2.0.0 RSET"),
		smtptest.Expect("221 2.0.0 bye"), smtptest.ExpectEnd()))...))
	s.wait(t)
}

// A client that ends its message so waits for an answer, and hangs up without it.
func TestTheLogNamesTheKeyForAMessageThatEndsAtLFAlone(t *testing.T) {
	const key = "the last line of the message is a dot and LF alone; with lf_ends it would end the message"
	for sent, want := range map[string]string{
		"text\n.\n":       key,
		"text\n.\r\n":     key,
		"text\r\n.\n":     key,
		"text\n":          "",
		"text\n.\nmore\n": "",
		"text.\n":         "",
		"text\n..\n":      "",
	} {
		for _, cuts := range []int{1, 2, len(sent)} {
			t.Run(fmt.Sprintf("%q in %d pieces", sent, cuts), func(t *testing.T) {
				t.Parallel()
				server, client := through(endOfData)
				for i := range cuts {
					client = append(client, smtptest.Send(sent[i*len(sent)/cuts:(i+1)*len(sent)/cuts]))
				}
				s := startScripted(t, func(c net.Conn) error {
					err := smtptest.Play(c, patience, server...)
					io.Copy(io.Discard, c)
					return err
				})
				r := plainRoute(s)
				var log bytes.Buffer
				p, dial := logged(t, r, &log)
				act(t, dial, plays(client...))
				s.wait(t)
				r.Observer.(*counts).outcome(t)
				p.Close() // which waits for the log
				if e := endIn(t, &log); e.Outcome != "client-lost" || e.Err != want {
					t.Errorf("%+v, want %q", e, want)
				}
			})
		}
	}
}

func TestTheLogSaysInFewWordsWhyAReplyIsNone(t *testing.T) {
	for said, want := range map[string]string{
		"what":                    `not a reply: no line begins with a code from 200 to 599 and a blank or hyphen: "what\r\n"`,
		"250 ok\r\n550 no longer": `not a reply to any command: "550 no longer\r\n"`,
	} {
		t.Run(said, func(t *testing.T) {
			t.Parallel()
			server, client := through(0)
			server = append(server, smtptest.Expect("RSET"), smtptest.Say(strings.Split(said, "\r\n")...), smtptest.ExpectEnd())
			client = append(client, smtptest.Say("RSET"))
			if first, _, found := strings.Cut(said, "\r\n"); found {
				client = append(client, smtptest.Expect(first))
			}
			client = append(client, smtptest.Expect("421 4.3.0 server broke the protocol"), smtptest.ExpectEnd())
			if e := endOf(t, server, client, nil); !strings.HasPrefix(e.Err, want) || e.Outcome != "server-protocol" {
				t.Errorf("%+v, want %q", e, want)
			}
		})
	}
}
