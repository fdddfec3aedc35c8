package proxy_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"smtpshim/proxy/smtptest"
)

// phase names the exchange whose answer goes wrong.
func phase(n int) string { return strings.Fields(exchanges[n][0])[0] }

// fault has the server do something wrong in place of its answer to each
// command of a session, and the client hear a 421 for it.
func fault(t *testing.T, name string, wrong func(n int) []smtptest.Step, end func(part) part, hears, outcome, failed string) {
	for n := range exchanges {
		steps := wrong(n)
		if steps == nil {
			continue // what is wrong elsewhere is right here
		}
		t.Run(name+" to "+phase(n), func(t *testing.T) {
			t.Parallel()
			server, client := asked(n)
			s := startScripted(t, end(plays(append(server, steps...)...)))
			r := plainRoute(s)
			_, dial := startProxy(t, r)
			act(t, dial, plays(append(client, smtptest.Expect(hears), smtptest.ExpectEnd())...))
			s.wait(t)
			c := r.Observer.(*counts)
			if n == endOfData { // RFC 1047
				wantEnd(t, c, "unknown")
				wantCount(t, c, "message unknown", 1)
			} else {
				wantEnd(t, c, outcome)
				wantCount(t, c, "message unknown", 0)
			}
			wantCount(t, c, "message accepted", 0)
			wantCount(t, c, "failed "+failed, 1)
		})
	}
}

func asItIs(p part) part { return p }

func TestAServerThatHangsUpIs421ToTheCommandThatWaits(t *testing.T) {
	for what, octets := range map[string]string{
		"a part of a code": "25", "a line without its end": "250 ok", "a CR without its LF": "250 ok\r",
		"the first of two lines": "250-ok\r\n",
	} {
		wrong := func(int) []smtptest.Step { return []smtptest.Step{smtptest.Send(octets)} }
		fault(t, "FIN after "+what, wrong, asItIs, lost, "server-lost", "lost")
		fault(t, "RST after "+what, wrong, thenReset, lost, "server-lost", "lost")
	}
}

func TestWhatIsNoReplyIsNeverPassedOn(t *testing.T) {
	for what, octets := range map[string]string{
		"an empty line":    "\r\n",
		"a blank first":    " 250 ok\r\n",
		"no blank":         "250ok\r\n",
		"four digits":      "2500 ok\r\n",
		"a code above 5xx": "600 ok\r\n",
		"a code below 2xx": "199 ok\r\n",
		"a TLS alert":      "\x15\x03\x01\x00\x02\x02\x28\r\n",
		"a bare LF":        "250 ok\n",
		"a bare LF within": "250 ok\n250 injected\r\n",
		"a bare CR within": "250 ok\r250 injected\r\n",
		"a NUL":            "250 o\x00k\r\n",
		"a NUL first":      "\x00250 ok\r\n",
		"codes that rise":  "550-no\r\n250 ok\r\n",
		"a huge reply":     strings.Repeat("250-"+strings.Repeat("x", 4000)+"\r\n", 100),
	} {
		wrong := func(int) []smtptest.Step { return []smtptest.Step{smtptest.Send(octets), smtptest.ExpectEnd()} }
		fault(t, what, wrong, asItIs, broken, "server-protocol", "protocol")
	}
}

func TestAYesThatNobodyWaitedForIsNeverPassedOn(t *testing.T) {
	say := func(reply string) []smtptest.Step { return []smtptest.Step{smtptest.Send(reply), smtptest.ExpectEnd()} }
	for what, wrong := range map[string]func(n int) []smtptest.Step{
		"a 354": func(n int) []smtptest.Step {
			if phase(n) == "DATA" {
				return nil
			}
			return say("354 go ahead\r\n")
		},
		"a 334": func(int) []smtptest.Step { return say("334 \r\n") },
		"a 250 to DATA": func(n int) []smtptest.Step {
			if phase(n) != "DATA" {
				return nil
			}
			return say("250 ok\r\n")
		},
	} {
		fault(t, what, wrong, asItIs, broken, "server-protocol", "protocol")
	}
}

func TestTheSecondOfTwoRepliesEndsTheSession(t *testing.T) {
	for n := range exchanges {
		t.Run("to "+phase(n), func(t *testing.T) {
			t.Parallel()
			server, client := asked(n)
			server = append(server, smtptest.Send(exchanges[n][1]+"\r\n250 extra\r\n"), smtptest.ExpectEnd())
			accepted := 0
			switch n {
			case endOfData: // the first is the answer, or the message would come again
				accepted = 1
				client = append(client, smtptest.Expect(exchanges[n][1]))
			case endOfData - 1: // the second one would be the answer to the dot
				client = append(client, smtptest.Expect(exchanges[n][1]), smtptest.Say("text", "."))
			default:
				client = append(client, smtptest.Expect(exchanges[n][1]))
			}
			c := play(t, server, append(client, smtptest.Expect(broken), smtptest.ExpectEnd()), nil)
			wantEnd(t, c, "server-protocol")
			wantCount(t, c, "message accepted", accepted)
			wantCount(t, c, "failed protocol", 1)
		})
	}
}

// The same when there is time between the two, and the client does not wait.
func TestAReplyBeforeItsCommandEndsTheSession(t *testing.T) {
	for n := range endOfData {
		t.Run("before "+phase(n), func(t *testing.T) {
			t.Parallel()
			server, client := through(n)
			said := make(chan struct{})
			server = append(server, smtptest.Say("250 extra"), smtptest.Pause(func() { close(said) }), smtptest.ExpectEnd())
			client = append(client, smtptest.Pause(func() { <-said }),
				smtptest.Say(exchanges[n][0]), smtptest.Expect(broken), smtptest.ExpectEnd())
			c := play(t, server, client, nil)
			wantEnd(t, c, "server-protocol")
			wantCount(t, c, "failed protocol", 1)
		})
	}
}

func TestA421ThatComesUnaskedReachesAnIdleClientAtOnce(t *testing.T) {
	for n := range endOfData {
		if phase(n) == "DATA" {
			continue
		}
		server, client := through(n + 1)
		c := play(t, append(server, smtptest.Say("421 4.3.2 closing for the night"), smtptest.ExpectEnd()),
			append(client, smtptest.Expect("421 4.3.2 closing for the night"), smtptest.ExpectEnd()), nil)
		wantEnd(t, c, "server-lost")
	}
}

func TestAnythingElseThatComesUnaskedEndsTheSession(t *testing.T) {
	for _, said := range []string{"250 ok", "354 go ahead", "550 no", "220 again", "nonsense"} {
		server, client := through(1)
		c := play(t, append(server, smtptest.Say(said), smtptest.ExpectEnd()),
			append(client, smtptest.Expect(broken), smtptest.ExpectEnd()), nil)
		wantEnd(t, c, "server-protocol")
		wantCount(t, c, "failed protocol", 1)
	}
}

func TestAnIdleClientHearsAtOnceThatTheServerHasGone(t *testing.T) {
	for n := range endOfData {
		if phase(n) == "DATA" {
			continue
		}
		for how, end := range map[string]func(part) part{"FIN": asItIs, "RST": thenReset} {
			t.Run(how+" after "+phase(n), func(t *testing.T) {
				t.Parallel()
				server, client := through(n + 1)
				heard := make(chan struct{})
				client = append(client, smtptest.Pause(func() { close(heard) }), smtptest.Expect(lost), smtptest.ExpectEnd())
				s := startScripted(t, end(plays(append(server, smtptest.Pause(func() { <-heard }))...)))
				r := plainRoute(s)
				_, dial := startProxy(t, r)
				act(t, dial, plays(client...))
				s.wait(t)
				wantEnd(t, r.Observer.(*counts), "server-lost")
				wantCount(t, r.Observer.(*counts), "failed lost", 1)
			})
		}
	}
}

func TestQUITIsAnsweredEvenIfTheServerOnlyHangsUp(t *testing.T) {
	server, client := through(1)
	c := play(t, append(server, smtptest.Expect("QUIT")),
		append(client, smtptest.Say("QUIT"), smtptest.Expect("221 2.0.0 closing connection"), smtptest.ExpectEnd()), nil)
	wantEnd(t, c, "ok")
}

// unreachable is an address where nobody listens, and nobody else will: it is
// one end of a connection.
func unreachable(t *testing.T) string {
	t.Helper()
	conn, err := net.Dial("tcp", listen(t).Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().String()
}

func TestWithoutAServerTheClientGets421(t *testing.T) {
	const text = "421 4.3.2 server not available"
	for name, silent := range map[string]part{
		"hangs up":       plays(),
		"says no reply":  plays(smtptest.Say("hello"), smtptest.ExpectEnd()),
		"greets by half": plays(smtptest.Send("220-mail.example.com\r\n")),
		"resets":         thenReset(plays()),
	} {
		s := startScripted(t, silent)
		r := plainRoute(s)
		r.Servers = append(r.Servers, unreachable(t))
		_, dial := startProxy(t, r)
		act(t, dial, plays(smtptest.Expect(text), smtptest.ExpectEnd()))
		s.wait(t)
		c := r.Observer.(*counts)
		if o := c.outcome(t); o != "server-unreachable" {
			t.Errorf("%s: ended %s", name, o)
		}
		if c.get("failed connect")+c.get("failed greeting") != 2 || c.get("connected") != 0 {
			t.Errorf("%s: counted %v", name, c.n)
		}
	}
}

func TestARefusalInTheGreetingPassesAsItCame(t *testing.T) {
	for _, said := range [][]string{{"554 5.7.1 not you"}, {"450-4.3.2 a", "450 4.3.2 b"}} {
		c := play(t, append([]smtptest.Step{smtptest.Say(said...)}, quitServer...),
			append([]smtptest.Step{smtptest.Expect(said...)}, quitClient...), nil)
		wantEnd(t, c, "refused")
	}
	c := play(t, []smtptest.Step{smtptest.Say("421 4.3.2 later"), smtptest.ExpectEnd()},
		[]smtptest.Step{smtptest.Expect("421 4.3.2 later"), smtptest.ExpectEnd()}, nil)
	wantEnd(t, c, "server-lost")
}

func TestTheNextServerIsTriedUntilOneGreets(t *testing.T) {
	bad := []*scripted{
		startScripted(t, plays(smtptest.Say("554 5.3.2 not now"), smtptest.ExpectEnd())),
		startScripted(t, plays(smtptest.Say("421 4.3.2 not now"), smtptest.ExpectEnd())),
		startScripted(t, plays(smtptest.Say("354 what"), smtptest.ExpectEnd())),
		startScripted(t, plays(smtptest.Say("nonsense"), smtptest.ExpectEnd())),
		startScripted(t, plays(smtptest.Say("220-mixed", "554 codes"), smtptest.ExpectEnd())),
		startScripted(t, plays()),
	}
	good := startScripted(t, plays(append([]smtptest.Step{smtptest.Say(greeting)}, quitServer...)...))
	r := plainRoute(append(bad, good)...)
	r.Servers = append([]string{unreachable(t)}, r.Servers...)
	_, dial := startProxy(t, r)
	act(t, dial, plays(append([]smtptest.Step{smtptest.Expect(greeting)}, quitClient...)...))
	for _, s := range append(bad, good) {
		s.wait(t)
	}
	wantEnd(t, r.Observer.(*counts), "ok")
	wantCount(t, r.Observer.(*counts), "connected", 1)
}

func TestARefusalPassesIfNoOtherServerGreetsAtAll(t *testing.T) {
	first := startScripted(t, plays(append([]smtptest.Step{smtptest.Say("554 5.7.1 not you")}, quitServer...)...))
	r := plainRoute(first)
	r.Servers = append(r.Servers, unreachable(t))
	_, dial := startProxy(t, r)
	act(t, dial, plays(append([]smtptest.Step{smtptest.Expect("554 5.7.1 not you")}, quitClient...)...))
	first.wait(t)
	wantEnd(t, r.Observer.(*counts), "refused")
}

func TestLongRepliesWithinTheLimitsPass(t *testing.T) {
	line := strings.Repeat("x", 4096-len("250-\r\n"))
	server, client := asked(0)
	var reply []string
	for range 15 {
		reply = append(reply, "250-"+line)
	}
	reply = append(reply, "250 "+line)
	c := play(t, append(append(server, smtptest.Say(reply...)), quitServer...),
		append(append(client, smtptest.Expect(reply...)), quitClient...), nil)
	wantEnd(t, c, "ok")
}

// A long message and a server that does not want all of it.
func TestAnAnswerBeforeTheEndOfAMessageIsGivenAtItsEnd(t *testing.T) {
	text := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 4<<20/72)
	for _, test := range []struct{ says, hears, outcome, message string }{
		{"552 5.3.4 too big", "552 5.3.4 too big", "server-lost", "refused"},
		{"452 4.3.1 disk full", "452 4.3.1 disk full", "server-lost", "refused"},
		{"421 4.3.2 bye", "421 4.3.2 bye", "server-lost", "refused"},
		{"", lost, "server-lost", "cut"},
		{"250 ok", broken, "server-protocol", "cut"},
		{"354 more", broken, "server-protocol", "cut"},
		{"nonsense", broken, "server-protocol", "cut"},
	} {
		t.Run(test.says, func(t *testing.T) {
			server, client := through(endOfData)
			first, rest := text[:len(text)/2], text[len(text)/2:]
			said := make(chan struct{})
			last := smtptest.Say(test.says)
			if test.says == "" {
				last = smtptest.Close()
			}
			s := startScripted(t, func(c net.Conn) error {
				err := smtptest.Play(c, patience, append(server, smtptest.ExpectOctets(first[:128<<10]), last)...)
				close(said)
				return errors.Join(err, neverEnds(c))
			})
			r := plainRoute(s)
			_, dial := startProxy(t, r)
			client = append(client, smtptest.Send(first), smtptest.Pause(func() { <-said }))
			if test.hears == broken { // at once: the client may not even have sent it all
				client = append(client, smtptest.Send(rest), smtptest.Expect(test.hears), smtptest.ExpectEnd())
			} else {
				client = append(client, smtptest.Send(rest), smtptest.Say("."), smtptest.Expect(test.hears))
			}
			if test.hears[0] == '5' || test.hears[:2] == "45" {
				client = append(client, smtptest.Say("QUIT"), smtptest.Expect("221 2.0.0 closing connection"))
			}
			act(t, dial, plays(append(client, smtptest.ExpectEnd())...))
			s.wait(t)
			c := r.Observer.(*counts)
			wantEnd(t, c, test.outcome)
			wantCount(t, c, "message "+test.message, 1)
			wantCount(t, c, "message accepted", 0)
		})
	}
}

// neverEnds reads what is left, which must not hold the end of a message.
func neverEnds(c net.Conn) error {
	rest := make([]byte, 0, 8<<20)
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		rest = append(rest, buf[:n]...)
		if err != nil {
			break
		}
	}
	if strings.Contains(string(rest), "\r\n.\r\n") || strings.Contains(string(rest), "QUIT") {
		return fmt.Errorf("the server got the end of a message that it had answered: %q", rest[max(0, len(rest)-40):])
	}
	return nil
}
