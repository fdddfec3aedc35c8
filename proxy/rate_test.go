package proxy

import (
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite/vocabulary"
)

// limitsMet is an observer that keeps the names of limits.
type limitsMet struct {
	faultCounts
	names []string
}

func (l *limitsMet) LimitMet(limit vocabulary.Limit) { l.names = append(l.names, string(limit)) }

// A message may come slowly, but not for ever.
func TestAMessageHasASmallestRate(t *testing.T) {
	const slow = "421 4.4.2 the message comes too slowly"
	chunkHello := steps(smtptest.Say("220 mail.example.com ESMTP"), smtptest.Expect("EHLO c.example.com"), smtptest.Say("250-mail.example.com", "250 CHUNKING"))
	chunkClient := steps(smtptest.Expect("220 mail.example.com ESMTP"), smtptest.Say("EHLO c.example.com"), smtptest.Expect("250-mail.example.com", "250 CHUNKING"))
	atLeast64 := Limits{MessageRate: 64}
	for name, test := range map[string]struct {
		server, client []smtptest.Step
		rate           int // octets that come each second
		text           string
		hears          string
		limits         Limits
	}{
		"a message by radio":                           {serverData, clientData, 28, strings.Repeat("x", 90*28) + "\r\n.\r\n", "250 taken", Limits{}},
		"a message by radio where sessions are scarce": {serverData, clientData, 28, strings.Repeat("x", 90*28), slow, Limits{Sessions: 1}},
		"a chunk by radio": {append(chunkHello, smtptest.Expect("BDAT 2520 LAST")), append(chunkClient, smtptest.Say("BDAT 2520 LAST")),
			28, strings.Repeat("x", 90*28), "250 taken", Limits{Sessions: 2}},
		"too slow a message": {serverData, clientData, 40, strings.Repeat("x", 80*40), slow, atLeast64},
		"a slow message":     {serverData, clientData, 65, strings.Repeat("x", 80*65) + "\r\n.\r\n", "250 taken", atLeast64},
		"too slow a chunk": {append(chunkHello, smtptest.Expect("BDAT 3200 LAST")), append(chunkClient, smtptest.Say("BDAT 3200 LAST")),
			40, strings.Repeat("x", 80*40), slow, atLeast64},
		"a slow chunk": {append(chunkHello, smtptest.Expect("BDAT 5200 LAST")), append(chunkClient, smtptest.Say("BDAT 5200 LAST")),
			65, strings.Repeat("x", 80*65), "250 taken", atLeast64},
		"too slow a chunk that is refused": {serverHello, append(clientHello, smtptest.Say("BDAT 3200 LAST"), smtptest.Expect("502 5.5.1 BDAT was not offered")),
			40, strings.Repeat("x", 80*40), slow, atLeast64},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := &limitsMet{faultCounts: faultCounts{n: map[string]int{}}}
				m := &meeting{route: &Route{Observer: told, Limits: test.limits}}
				m.dial = func(context.Context, string) (net.Conn, error) {
					near, far := tubes()
					go func() {
						server := test.server[:len(test.server):len(test.server)]
						if test.hears != slow {
							server = append(server, smtptest.ExpectOctets(test.text), smtptest.Say(test.hears))
						}
						smtptest.Play(far, day, server...)
						io.Copy(io.Discard, far)
						far.Close()
					}()
					return near, nil
				}
				m.client = append(test.client[:len(test.client):len(test.client)], m.since())
				for rest := test.text; rest != "" && (test.hears != slow || len(test.text)-len(rest) < 62*test.rate); {
					n := min(test.rate, len(rest))
					m.client = append(m.client, smtptest.Send(rest[:n]), smtptest.Pause(func() { time.Sleep(time.Second) }))
					rest = rest[n:]
				}
				m.client = append(m.client, smtptest.Expect(test.hears), m.until())
				m.run(t)
				if test.hears == slow && (m.elapsed < time.Minute || m.elapsed > time.Minute+3*time.Second) {
					t.Errorf("ended after %v, want a minute", m.elapsed)
				}
				if counted := slices.Equal(told.names, []string{"message-rate"}); counted != (test.hears == slow) {
					t.Errorf("limits met: %q", told.names)
				}
			})
		})
	}
}

// A pause that Timeouts.Data allows may come anywhere in a message.
func TestAMessageMayPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pauses = 6 // over a minute in all
		m := &meeting{route: &Route{}, server: append(serverData[:len(serverData):len(serverData)],
			smtptest.ExpectOctets(strings.Repeat("x\r\n", pauses)+".\r\n"), smtptest.Say("250 taken"))}
		m.client = clientData[:len(clientData):len(clientData)]
		for range pauses {
			m.client = append(m.client, smtptest.Send("x\r\n"), smtptest.Pause(func() { time.Sleep(distinct.Data - time.Second) }))
		}
		m.client = append(m.client, smtptest.Send(".\r\n"), smtptest.Expect("250 taken"))
		m.run(t)
	})
}

// A client may say something every minute, but not for days.
func TestASessionHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Proxy{Logger: slog.New(slog.DiscardHandler)}
		p.dial = func(context.Context, string) (net.Conn, error) {
			near, far := tubes()
			go func() {
				io.WriteString(far, "220 mail.example.com ESMTP\r\n")
				for smtptest.Play(far, day, smtptest.Expect("MAIL FROM:<>"), smtptest.Say("250 ok")) == nil {
				}
				far.Close()
			}()
			return near, nil
		}
		p.prepare()
		near, far := tubes()
		go p.accepted(near, newRunning(&Route{Name: "test", Servers: []string{"192.0.2.1:25"}, Timeouts: Timeouts{Session: time.Hour}}, "shim.example.com"))
		began := time.Now()
		if err := smtptest.Play(far, day, smtptest.Expect("220 mail.example.com ESMTP")); err != nil {
			t.Fatal(err)
		}
		for smtptest.Play(far, day, smtptest.Say("MAIL FROM:<>"), smtptest.Expect("250 ok")) == nil {
			time.Sleep(time.Minute)
		}
		if took := time.Since(began); took < time.Hour || took > time.Hour+time.Minute {
			t.Errorf("ended after %v, want an hour", took)
		}
		far.Close()
		p.Close()
	})
}

// accepted opens a connection as a listener does.
func (p *Proxy) accepted(conn net.Conn, route *running) {
	p.arriving.Add(1)
	p.open(nil, conn, route)
}
