package proxy_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
)

// A part is what one peer does on a connection.
type part func(net.Conn) error

// plays is a part of steps.
func plays(steps ...smtptest.Step) part {
	return func(c net.Conn) error { return smtptest.Play(c, patience, steps...) }
}

// thenReset breaks the connection off with a RST instead of a FIN.
func thenReset(p part) part {
	return func(c net.Conn) error {
		err := p(c)
		c.(*net.TCPConn).SetLinger(0)
		return err
	}
}

// A scripted is a server that plays its parts, one for each connection in turn.
type scripted struct {
	addr string
	done []chan error
}

func startScripted(t *testing.T, parts ...part) *scripted {
	t.Helper()
	l := listen(t)
	s := &scripted{addr: l.Addr().String()}
	for range parts {
		s.done = append(s.done, make(chan error, 1))
	}
	go func() {
		for i, p := range parts {
			conn, err := l.Accept()
			if err != nil {
				s.done[i] <- err
				continue
			}
			err = p(conn)
			conn.Close()
			s.done[i] <- err
		}
	}()
	return s
}

// wait is for the end of every part. What the server did not see right is an error.
func (s *scripted) wait(t *testing.T) {
	t.Helper()
	for i, done := range s.done {
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("server, connection %d: %v", i+1, err)
			}
		case <-time.After(2 * patience):
			t.Fatalf("server, connection %d: not over, or not even begun", i+1)
		}
	}
}

// plainRoute is one without rules before these servers.
func plainRoute(servers ...*scripted) *proxy.Route {
	r := &proxy.Route{Observer: newCounts()}
	for _, s := range servers {
		r.Servers = append(r.Servers, s.addr)
	}
	return r
}

// act plays the client's part, and hangs up.
func act(t *testing.T, dial smtptest.Dial, p part) {
	t.Helper()
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := p(conn); err != nil {
		t.Errorf("client: %v", err)
	}
}

// play has one client and one server meet over a route without rules, and
// waits until all is over.
func play(t *testing.T, server, client []smtptest.Step, change func(*proxy.Route)) *counts {
	t.Helper()
	s := startScripted(t, plays(server...))
	r := plainRoute(s)
	if change != nil {
		change(r)
	}
	_, dial := startProxy(t, r)
	act(t, dial, plays(client...))
	s.wait(t)
	return r.Observer.(*counts)
}

func wantEnd(t *testing.T, c *counts, outcome string) {
	t.Helper()
	if got := c.outcome(t); got != outcome {
		t.Errorf("the session ended %s, want %s", got, outcome)
	}
}

func wantCount(t *testing.T, c *counts, what string, n int) {
	t.Helper()
	if got := c.get(what); got != n {
		t.Errorf("%q was counted %d times, want %d", what, got, n)
	}
}

const (
	greeting = "220 mail.example.com ESMTP"
	lost     = "421 4.4.2 connection to server lost"
	broken   = "421 4.3.0 server broke the protocol"
)

// exchanges are the commands of one message and their replies. The last one is
// the message.
var exchanges = [][2]string{
	{"EHLO client.example.com", "250 mail.example.com"},
	{"MAIL FROM:<a@example.com>", "250 2.1.0 ok"},
	{"RCPT TO:<b@example.net>", "250 2.1.5 ok"},
	{"DATA", "354 go ahead"},
	{"text\r\n.", "250 2.0.0 taken"},
}

const endOfData = 4 // of exchanges

// through are both sides' steps of the first n exchanges.
func through(n int) (server, client []smtptest.Step) {
	server = []smtptest.Step{smtptest.Say(greeting)}
	client = []smtptest.Step{smtptest.Expect(greeting)}
	for _, e := range exchanges[:n] {
		said := strings.Split(e[0], "\r\n")
		server = append(server, smtptest.Expect(said...), smtptest.Say(e[1]))
		client = append(client, smtptest.Say(said...), smtptest.Expect(e[1]))
	}
	return server, client
}

// asked is through, and then the next command without its reply.
func asked(n int) (server, client []smtptest.Step) {
	server, client = through(n)
	said := strings.Split(exchanges[n][0], "\r\n")
	return append(server, smtptest.Expect(said...)), append(client, smtptest.Say(said...))
}

var (
	quitServer = []smtptest.Step{smtptest.Expect("QUIT"), smtptest.Say("221 2.0.0 bye"), smtptest.ExpectEnd()}
	quitClient = []smtptest.Step{smtptest.Say("QUIT"), smtptest.Expect("221 2.0.0 bye"), smtptest.ExpectEnd()}
)

// eventually waits until something is so.
func eventually(t *testing.T, so func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !so() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it did not come about")
		}
	}
}
