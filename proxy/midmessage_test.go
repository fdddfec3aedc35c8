package proxy_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

// An interrupted message is one that stops halfway: its client waits for a reply
// and sends nothing.
type interrupted struct {
	server, client []smtptest.Step // to the middle of the message
	rest           string          // of the message, with its end
	hears          string          // rest, as the server gets it; "": it gets nothing
}

// halfway lists the ways to send a message, each with so many octets sent and as
// many missing.
func halfway(name string, octets int) interrupted {
	text := strings.Repeat("a line\r\n", octets/8+1)
	switch name {
	case "DATA":
		server, client := through(endOfData)
		return interrupted{append(server, smtptest.ExpectOctets(text)), append(client, smtptest.Send(text)), text + ".\r\n", ""}
	case "BDAT":
		server, client := hello("CHUNKING")
		server, client = addressed(server, client)
		bdat := fmt.Sprintf("BDAT %d LAST", 2*len(text))
		return interrupted{append(server, smtptest.Expect(bdat), smtptest.ExpectOctets(text)),
			append(client, smtptest.Say(bdat), smtptest.Send(text)), text, text}
	}
	server, client := hello()
	client[len(client)-1] = smtptest.Expect("250-mail.example.com", "250-HELP", "250 CHUNKING")
	server, client = addressed(server, client)
	server = append(server, smtptest.Expect("DATA"), smtptest.Say("354 go on"), smtptest.ExpectOctets(text))
	if name == "BDAT made DATA" {
		return interrupted{server, append(client, smtptest.Say(fmt.Sprintf("BDAT %d LAST", 2*len(text))), smtptest.Send(text)), text, ""}
	}
	return interrupted{server, append(client, smtptest.Say(fmt.Sprintf("BDAT %d", len(text))), smtptest.Send(text),
		smtptest.Expect(fmt.Sprintf("250 2.0.0 %d octets received", len(text)))), fmt.Sprintf("BDAT %d LAST\r\n", len(text)) + text, ""}
}

var waysToSend = []string{"DATA", "BDAT", "BDAT made DATA", "between two chunks made DATA"}

// legs are those that a session can have.
func legs(t *testing.T) map[string]func(*interrupted, *proxy.Route) {
	ours, theirs := testTLS(t)
	return map[string]func(*interrupted, *proxy.Route){
		"in clear": func(*interrupted, *proxy.Route) {},
		"under TLS": func(m *interrupted, r *proxy.Route) {
			m.server = append(steps(smtptest.ServerTLS(ours)), m.server...)
			m.client = append(steps(smtptest.ClientTLS(theirs)), m.client...)
			clientLeg(rewrite.ClientTLSImplicit, ours)(r)
			serverLeg(rewrite.ServerTLSImplicit, theirs)(r)
		},
	}
}

// addressed goes on to the first RCPT.
func addressed(server, client []smtptest.Step) (_, _ []smtptest.Step) {
	for _, e := range exchanges[1:3] {
		s, c := says(e[0], e[1])
		server, client = append(server, s...), append(client, c...)
	}
	return server, client
}

// eachInterrupted begins a session for each way to send a message, each size and
// each kind of legs, all at once. begin gives what is to be true of it.
func eachInterrupted(t *testing.T, begin func(t *testing.T, way string, m interrupted, r *proxy.Route) func(*testing.T)) {
	ends := map[string]func(*testing.T){}
	for leg, change := range legs(t) {
		for _, way := range waysToSend {
			for _, octets := range []int{10, 10_000, 1_000_000} {
				name := fmt.Sprintf("%s, %s, %d octets", leg, way, octets)
				m := halfway(way, octets)
				r := plainRoute()
				r.Name = name
				if strings.HasSuffix(way, "made DATA") {
					r.Rules = compile(t, "bdat-to-data")
				}
				change(&m, r)
				ends[name] = begin(t, way, m, r)
			}
		}
	}
	for name, end := range ends {
		t.Run(name, end)
	}
}

// meeting has both sides play their parts. It gives what waits until they have,
// and gives what was counted.
func meeting(t *testing.T, r *proxy.Route, server part, client ...smtptest.Step) (counted func(*testing.T) *counts) {
	t.Helper()
	s := startScripted(t, server)
	r.Servers = []string{s.addr}
	_, dial := startProxy(t, r)
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	played := make(chan error, 1)
	go func() {
		defer conn.Close()
		played <- smtptest.Play(conn, patience, client...)
	}()
	return func(t *testing.T) *counts {
		t.Helper()
		if err := <-played; err != nil {
			t.Errorf("client: %v", err)
		}
		s.wait(t)
		return r.Observer.(*counts)
	}
}

// stopsWithin says whether a way to send a message stops within what is sent.
func stopsWithin(way string) bool { return !strings.HasPrefix(way, "between") }

func TestAClientThatWaitsInAMessageHearsThatTheServerIsLost(t *testing.T) {
	for how, end := range map[string]func(part) part{"FIN": asItIs, "RST": thenReset} {
		t.Run(how, func(t *testing.T) {
			eachInterrupted(t, func(t *testing.T, way string, m interrupted, r *proxy.Route) func(*testing.T) {
				counted := meeting(t, r, end(plays(m.server...)), append(m.client, smtptest.Expect(lost), smtptest.ExpectEnd())...)
				return func(t *testing.T) {
					c := counted(t)
					wantEnd(t, c, "server-lost")
					wantCount(t, c, "failed lost", 1)
					wantCount(t, c, "message accepted", 0)
					wantCount(t, c, "message unknown", 0)
					if stopsWithin(way) {
						wantCount(t, c, "message cut", 1)
					}
				}
			})
		})
	}
}

func TestAClientThatWaitsInAMessageHearsThatTheServerBrokeTheProtocol(t *testing.T) {
	for _, says := range []string{"250 2.0.0 taken", "354 go on", "nonsense"} {
		t.Run(says, func(t *testing.T) {
			eachInterrupted(t, func(t *testing.T, way string, m interrupted, r *proxy.Route) func(*testing.T) {
				counted := meeting(t, r, plays(append(m.server, smtptest.Say(says), smtptest.ExpectEnd())...),
					append(m.client, smtptest.Expect(broken), smtptest.ExpectEnd())...)
				return func(t *testing.T) {
					c := counted(t)
					wantEnd(t, c, "server-protocol")
					wantCount(t, c, "failed protocol", 1)
					wantCount(t, c, "message accepted", 0)
					wantCount(t, c, "message unknown", 0)
					if stopsWithin(way) {
						wantCount(t, c, "message cut", 1)
					}
				}
			})
		})
	}
}

func TestAClientThatWaitsInAMessageHearsThe421OfTheServer(t *testing.T) {
	const bye = "421 4.3.2 bye"
	eachInterrupted(t, func(t *testing.T, way string, m interrupted, r *proxy.Route) func(*testing.T) {
		counted := meeting(t, r, plays(append(m.server, smtptest.Say(bye), smtptest.ExpectEnd())...),
			append(m.client, smtptest.Expect(bye), smtptest.ExpectEnd())...)
		return func(t *testing.T) {
			c := counted(t)
			wantEnd(t, c, "server-lost")
			wantCount(t, c, "message accepted", 0)
			if stopsWithin(way) {
				wantCount(t, c, "message refused", 1)
			}
		}
	})
}

// Only a server that counts octets gets the rest of a message that it has refused.
func TestAClientThatWaitsInAMessageHearsTheRefusal(t *testing.T) {
	const no = "552 5.3.4 too big"
	eachInterrupted(t, func(t *testing.T, way string, m interrupted, r *proxy.Route) func(*testing.T) {
		gone := make(chan struct{})
		server, client, outcome := append(m.server, smtptest.Say(no)), m.client, "server-lost"
		if stopsWithin(way) {
			client = append(client, smtptest.Expect(no), smtptest.Send(m.rest))
		} else { // it is the answer to the next chunk
			client = append(client, smtptest.Pause(func() { <-gone }), smtptest.Send(m.rest), smtptest.Expect(no))
		}
		if m.hears != "" {
			server, client, outcome = list(append(server, smtptest.ExpectOctets(m.hears)), quitServer), list(client, quitClient), "refused"
		} else {
			server = append(server, smtptest.ExpectEnd())
			client = append(client, smtptest.Say("QUIT"), smtptest.Expect("221 2.0.0 closing connection"), smtptest.ExpectEnd())
		}
		counted := meeting(t, r, func(c net.Conn) error {
			defer close(gone)
			return plays(server...)(c)
		}, client...)
		return func(t *testing.T) {
			c := counted(t)
			wantEnd(t, c, outcome)
			wantCount(t, c, "message refused", 1)
			wantCount(t, c, "message accepted", 0)
			wantCount(t, c, "message cut", 0)
		}
	})
}

func TestADrainDoesNotWaitForAMessageWhoseServerIsLost(t *testing.T) {
	for _, first := range []string{"drain", "loss"} {
		t.Run(first+" first", func(t *testing.T) {
			eachInterrupted(t, func(t *testing.T, _ string, m interrupted, r *proxy.Route) func(*testing.T) {
				draining, half := make(chan struct{}), make(chan struct{})
				s := startScripted(t, func(c net.Conn) error {
					err := plays(m.server...)(c)
					close(half)
					if first == "drain" {
						<-draining
					}
					return err
				})
				r.Servers = []string{s.addr}
				p, dial := startProxy(t, r)
				return func(t *testing.T) {
					var done chan error
					act(t, dial, plays(append(m.client, smtptest.Pause(func() {
						<-half
						done = drained(p, t.Context())
						eventually(t, func() bool { return p.Addr(r.Listen[0]) == nil })
						close(draining)
					}), smtptest.Expect(lost), smtptest.ExpectEnd())...))
					s.wait(t)
					wantDrained(t, done, nil)
					wantEnd(t, r.Observer.(*counts), "server-lost")
				}
			})
		})
	}
}

func TestAClientThatWaitsInAnAUTHExchangeHearsThatTheServerIsLost(t *testing.T) {
	server, client := hello()
	challenge, clientChallenge := says("AUTH PLAIN", "334 ")
	for how, end := range map[string]func(part) part{"FIN": asItIs, "RST": thenReset} {
		t.Run(how, func(t *testing.T) {
			c := meeting(t, plainRoute(), end(plays(list(server, challenge)...)),
				list(client, clientChallenge, steps(smtptest.Expect(lost), smtptest.ExpectEnd()))...)(t)
			wantEnd(t, c, "server-lost")
			wantCount(t, c, "failed lost", 1)
		})
	}
}
