package proxy_test

import (
	"fmt"
	"net"
	"sync"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
)

// midway are clients that have come in by an address, each as far as a third of
// them is: idle, in a transaction, in a message.
func midway(t *testing.T, to string, n int) []net.Conn {
	t.Helper()
	at := [][]smtptest.Step{
		steps(smtptest.Expect(greeting), smtptest.Say("EHLO c"), smtptest.Expect("250 ok")),
		steps(smtptest.Say("MAIL FROM:<a@example.com>"), smtptest.Expect("250 ok")),
		steps(smtptest.Say("DATA"), smtptest.Expect("354 go ahead"), smtptest.Send("text\r\nmore te")),
	}
	var all []net.Conn
	for i := range n {
		conn, err := net.Dial("tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := smtptest.Play(conn, patience, list(at[:1+i%3]...)...); err != nil {
			t.Fatal(err)
		}
		all = append(all, conn)
	}
	return all
}

// finish goes on from where midway has left a client, to the answer to its
// message, and to what it hears then.
func finish(conn net.Conn, i int, last ...smtptest.Step) error {
	rest := [][]smtptest.Step{
		steps(smtptest.Say("MAIL FROM:<a@example.com>"), smtptest.Expect("250 ok")),
		steps(smtptest.Say("DATA"), smtptest.Expect("354 go ahead"), smtptest.Send("text\r\nmore te")),
		steps(smtptest.Send("xt\r\n.\r\n"), smtptest.Expect("250 ok")),
	}
	return smtptest.Play(conn, patience, append(list(rest[i%3:]...), last...)...)
}

// each does something for every client at once, and reports what went wrong.
func each(t *testing.T, clients []net.Conn, do func(conn net.Conn, i int) error) {
	t.Helper()
	var all sync.WaitGroup
	for i, conn := range clients {
		all.Go(func() {
			if err := do(conn, i); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	all.Wait()
}

func TestAReloadDropsNoSession(t *testing.T) {
	clients := 1000
	if testing.Short() {
		clients = 100
	}
	c := &counts{n: map[string]int{}, ended: make(chan string, 2*clients)}
	server := simpleServer(t)
	route := func(name, listen string, rules ...string) *proxy.Route {
		return &proxy.Route{Name: name, Listen: []string{listen}, Servers: []string{server}, Rules: compile(t, rules...), Observer: c,
			Limits: proxy.Limits{Sessions: 2 * clients}}
	}
	stays, goes := "127.0.0.1:0", smtptest.Loopback()+":0"
	p := quiet()
	defer p.Close()
	if err := p.Apply([]*proxy.Route{route("stays", stays), route("goes", goes)}); err != nil {
		t.Fatal(err)
	}
	gone := p.Addr(goes).String()
	all := append(midway(t, p.Addr(stays).String(), clients/2), midway(t, gone, clients-clients/2)...)
	for i := range 20 {
		if err := p.Apply([]*proxy.Route{route("stays", stays, "standard"), route("comes", fmt.Sprintf("127.0.0.%d:0", 3+i))}); err != nil {
			t.Fatal(err)
		}
	}
	if conn, err := net.Dial("tcp", gone); err == nil {
		conn.Close()
		t.Error("a listener that was taken away still listens")
	}
	each(t, all, func(conn net.Conn, i int) error {
		if i >= clients/2 {
			i -= clients / 2 // midway counts from 0
		}
		return finish(conn, i, smtptest.Say("QUIT"), smtptest.Expect("221 bye"), smtptest.ExpectEnd())
	})
	eventually(t, func() bool { return c.get("ended ok") == clients })
	wantCount(t, c, "message accepted", clients)
}

func TestDrainingUnderLoadLetsEveryMessageEnd(t *testing.T) {
	clients := 300
	if testing.Short() {
		clients = 60
	}
	c := &counts{n: map[string]int{}, ended: make(chan string, clients)}
	r := &proxy.Route{Servers: []string{simpleServer(t)}, Observer: c}
	p, _ := startProxy(t, r)
	all := midway(t, p.Addr(r.Listen[0]).String(), clients)
	done := drained(p, t.Context())
	each(t, all, func(conn net.Conn, i int) error {
		if i%3 == 0 { // idle
			return smtptest.Play(conn, patience, smtptest.Expect(leave), smtptest.ExpectEnd())
		}
		return finish(conn, i, smtptest.Expect(leave), smtptest.ExpectEnd())
	})
	wantDrained(t, done, nil)
	wantCount(t, c, "ended drained", clients)
	wantCount(t, c, "message accepted", clients-clients/3)
}
