package proxy_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

var endOfMessage = []byte("\r\n.\r\n")

// randomLines are lines as they stand on the wire: of any length and content
// that needs no mending, many of them with dots.
func randomLines(r *rand.Rand, octets int) []byte {
	var b []byte
	for len(b) < octets {
		for range r.IntN(3) {
			b = append(b, "..."[:2+r.IntN(2)]...) // stuffed
		}
		for range r.IntN(200) {
			c := byte(r.Uint32())
			if c == '\r' || c == '\n' || c == 0 {
				c = '.'
			}
			b = append(b, c)
		}
		if start := bytes.LastIndexByte(b, '\n') + 1; len(b)-start == 1 && b[start] == '.' {
			b = append(b, '.')
		}
		b = append(b, "\r\n"...)
	}
	return b
}

// sendSplit sends all of b in pieces of random sizes.
func sendSplit(w io.Writer, r *rand.Rand, b []byte, most int) error {
	for len(b) > 0 {
		n := min(1+r.IntN(most), len(b))
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// heap is what the heap takes, without what is garbage.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

func TestALongMessagePassesAsItIsAndTakesNoMemory(t *testing.T) {
	const most = 4 << 20 // that the heap may grow
	ours, theirs := testTLS(t)
	for name, test := range map[string]struct {
		octets int
		accept func(net.Conn) net.Conn // the server's side
		change func(*proxy.Route)
	}{
		"in clear":  {100 << 20, func(c net.Conn) net.Conn { return c }, func(*proxy.Route) {}},
		"under TLS": {20 << 20, func(c net.Conn) net.Conn { return tls.Server(c, ours) }, serverLeg(rewrite.ServerTLSImplicit, theirs)},
	} {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			block := randomLines(random, 1<<20)
			sent, got := sha256.New(), sha256.New()
			var before, peak uint64
			server, client := through(endOfData)
			s := startScripted(t, func(c net.Conn) error {
				c = test.accept(c)
				if err := smtptest.Play(c, patience, server...); err != nil {
					return err
				}
				before = heap()
				if err := readMessage(c, got, 10<<20, func() { peak = max(peak, heap()) }); err != nil {
					return err
				}
				return smtptest.Play(c, patience, append(steps(smtptest.Say("250 2.0.0 taken")), quitServer...)...)
			})
			r := plainRoute(s)
			test.change(r)
			_, dial := startProxy(t, r)
			act(t, dial, func(c net.Conn) error {
				if err := smtptest.Play(c, patience, client...); err != nil {
					return err
				}
				w := io.MultiWriter(c, sent)
				for n := 0; n < test.octets; n += len(block) {
					if err := sendSplit(w, random, block, 128<<10); err != nil {
						return err
					}
				}
				io.WriteString(w, ".\r\n")
				return smtptest.Play(c, patience, append(steps(smtptest.Expect("250 2.0.0 taken")), quitClient...)...)
			})
			s.wait(t)
			if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
				t.Error("the server did not get what was sent")
			}
			if peak > before+most {
				t.Errorf("the heap grew from %d to %d octets", before, peak)
			}
		})
	}
}

// readMessage reads a message to its end into w, and calls every so many octets.
func readMessage(c net.Conn, w io.Writer, every int, call func()) error {
	c.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 64<<10)
	tail := []byte("\r\n")
	for n, next := 0, every; !bytes.HasSuffix(tail, endOfMessage); {
		got, err := c.Read(buf)
		if err != nil {
			return err
		}
		w.Write(buf[:got])
		tail = append(tail, buf[max(0, got-len(endOfMessage)):got]...)
		tail = tail[max(0, len(tail)-len(endOfMessage)):]
		if n += got; n >= next {
			next += every
			call()
		}
	}
	return nil
}

func TestAMessageIsTheSameHoweverItIsSplit(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const messages = 50
	var bodies [][]byte
	server, client := hello()
	for range messages {
		bodies = append(bodies, append(randomLines(random, random.IntN(2000)), ".\r\n"...))
	}
	serverData, clientData := says("DATA", "354 go ahead")
	s := startScripted(t, func(c net.Conn) error {
		if err := smtptest.Play(c, patience, server...); err != nil {
			return err
		}
		for _, body := range bodies {
			if err := smtptest.Play(c, patience, append(serverData, smtptest.ExpectOctets(string(body)), smtptest.Say("250 taken"))...); err != nil {
				return err
			}
		}
		return smtptest.Play(c, patience, quitServer...)
	})
	r := plainRoute(s)
	_, dial := startProxy(t, r)
	act(t, dial, func(c net.Conn) error {
		if err := smtptest.Play(c, patience, client...); err != nil {
			return err
		}
		for i, body := range bodies {
			if err := smtptest.Play(c, patience, clientData...); err != nil {
				return err
			}
			if err := sendSplit(c, random, body, 1+i*4); err != nil {
				return err
			}
			if err := smtptest.Play(c, patience, smtptest.Expect("250 taken")); err != nil {
				return err
			}
		}
		return smtptest.Play(c, patience, quitClient...)
	})
	s.wait(t)
	wantEnd(t, r.Observer.(*counts), "ok")
	wantCount(t, r.Observer.(*counts), "message accepted", messages)
}

// More commands than one group has room for, some of which we answer ourselves.
func TestAPipelinedGroupIsAnsweredInItsOrder(t *testing.T) {
	server, client := hello("PIPELINING")
	commands, replies := []string{"MAIL FROM:<a@example.com>"}, []string{"250 mail"}
	server = append(server, smtptest.Expect(commands...), smtptest.Say(replies...))
	for i := range 300 {
		command, reply := fmt.Sprintf("RCPT TO:<%d@example.net>", i), fmt.Sprintf("250 %d", i)
		switch i % 50 {
		case 20:
			command, reply = "XCLIENT NAME=x", notHere
		case 30:
			command, reply = "RCPT\x00", notALine
		case 40:
			command, reply = "NOOP "+fmt.Sprint(i), fmt.Sprintf("250-%d", i)+"\r\n250 ok"
		}
		commands, replies = append(commands, command), append(replies, strings.Split(reply, "\r\n")...)
		if reply != notHere && reply != notALine {
			server = append(server, smtptest.Expect(command), smtptest.Say(reply))
		}
	}
	c := play(t, list(server, quitServer), append(client, smtptest.Say(append(commands, "QUIT")...),
		smtptest.Expect(append(replies, "221 2.0.0 bye")...), smtptest.ExpectEnd()), nil)
	wantEnd(t, c, "refused")
}

func TestAGroupGoesToTheServerAsAGroupWhereItHasPIPELINING(t *testing.T) {
	group := []string{"MAIL FROM:<a@example.com>", "RCPT TO:<b@example.net>", "RCPT TO:<c@example.net>", "DATA"}
	replies := []string{"250 1", "250 2", "550 3", "354 4"}
	server, client := hello("PIPELINING")
	server = append(server, smtptest.Expect(group...), smtptest.Say(replies...), smtptest.Expect("."), smtptest.Say("250 taken"))
	client = append(client, smtptest.Say(group...), smtptest.Expect(replies...), smtptest.Say("."), smtptest.Expect("250 taken"))
	c := play(t, list(server, quitServer), list(client, quitClient), nil)
	wantEnd(t, c, "ok")

	server, client = hello() // without: one by one
	for i := range group {
		server = append(server, smtptest.Expect(group[i]), smtptest.Say(replies[i]))
	}
	server = append(server, smtptest.Expect("."), smtptest.Say("250 taken"))
	client = append(client, smtptest.Say(group...), smtptest.Expect(replies...), smtptest.Say("."), smtptest.Expect("250 taken"))
	c = play(t, list(server, quitServer), list(client, quitClient), nil)
	wantEnd(t, c, "ok")
}

func TestManySessionsAtOnceDoNotMix(t *testing.T) {
	const sessions = 50
	server := startServer(t, legacyServer(t, "modern"))
	r := route(t, server)
	_, dial := startProxy(t, r)
	results := make(chan smtptest.Result, sessions)
	for i := range sessions {
		client := legacyClient(t, "needs-esmtp")
		go func() {
			who := fmt.Sprintf("%d@example.com", i)
			results <- client.Deliver(dial, smtptest.Message{From: who, To: []string{who, "all@example.net"},
				Body: bytes.Repeat([]byte("."+who+"\r\n"), 10000)})
		}()
	}
	for range sessions {
		wantDelivered(t, <-results)
	}
	server.Wait()
	if got := server.Messages(); len(got) != sessions {
		t.Errorf("%d messages at the server, want %d", len(got), sessions)
	}
	for _, m := range server.Messages() {
		if m.To[0] != m.From || !bytes.Equal(m.Body, bytes.Repeat([]byte("."+m.From+"\r\n"), 10000)) {
			t.Errorf("the message of %s is to %s, and begins with %q", m.From, m.To, m.Body[:40])
		}
	}
	wantCount(t, r.Observer.(*counts), "message accepted", sessions)
}
