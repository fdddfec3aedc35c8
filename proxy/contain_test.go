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
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
	"smtpshim/rewrite/transcript"
	"smtpshim/rewrite/vocabulary"
)

// A fuse panics once, when the callback that it is laid at is reached.
type fuse struct {
	at     string
	burned atomic.Bool
}

func (f *fuse) reach(at string) {
	if f.at == at && f.burned.CompareAndSwap(false, true) {
		var none []string
		_ = none[len(at)] // as a defect of ours would
	}
}

// A fused observer hears what counts hears, and panics at one of its callbacks.
type fused struct {
	*counts
	fuse *fuse
}

func (f fused) Dialogue(proxy.Beginning) proxy.DialogueListener {
	f.fuse.reach("Dialogue")
	return f
}

func (f fused) Line(l transcript.Line) {
	f.fuse.reach("Line")
	f.fuse.reach("Line " + l.Text)
}

func (f fused) End(proxy.Ending) { f.fuse.reach("End") }

func (f fused) SessionBegan() {
	f.counts.SessionBegan()
	f.fuse.reach("SessionBegan")
}

func (f fused) SessionEnded(outcome vocabulary.Outcome, lasted time.Duration) {
	f.counts.SessionEnded(outcome, lasted)
	f.fuse.reach("SessionEnded")
}

func (f fused) Command(verb string) {
	f.counts.Command(verb)
	f.fuse.reach("Command " + verb)
}

func (f fused) Reply(code int)               { f.fuse.reach(fmt.Sprint("Reply ", code)) }
func (f fused) RuleApplied(rule string)      { f.fuse.reach("RuleApplied") }
func (f fused) Bytes(vocabulary.Side, int64) { f.fuse.reach("Bytes") }
func (f fused) Refused(vocabulary.Rejection) { f.fuse.reach("Refused") }
func (f fused) Message(kind vocabulary.MessageOutcome, _ int64) {
	f.counts.add("message " + string(kind))
	f.fuse.reach("Message")
}
func (f fused) ServerConnected(time.Duration) { f.fuse.reach("ServerConnected") }
func (f fused) ServerReplied(verb string, _ time.Duration) {
	f.fuse.reach("ServerReplied " + verb)
}

func (f fused) TLS(side vocabulary.Side, _, _ string) { f.fuse.reach("TLS " + string(side)) }

// A fusedTLS is an Acceptor and a Dialer with the same fuse.
type fusedTLS struct {
	fuse           *fuse
	server, client *tls.Config
}

func (f *fusedTLS) Handshake(ctx context.Context, conn net.Conn, _ string) (*tls.Conn, error) {
	f.fuse.reach("dialer")
	secure := tls.Client(conn, f.client)
	return secure, secure.HandshakeContext(ctx)
}

// acceptor is a fusedTLS for clients.
type acceptor struct{ *fusedTLS }

func (a acceptor) Handshake(ctx context.Context, conn net.Conn, _ netip.Addr) (*tls.Conn, error) {
	a.fuse.reach("acceptor")
	secure := tls.Server(conn, a.server)
	return secure, secure.HandshakeContext(ctx)
}

// A defectLog keeps the log's lines, and panics at the end of a session if its fuse is
// laid there.
type defectLog struct {
	slog.Handler
	fuse  *fuse
	mu    *sync.Mutex
	lines *bytes.Buffer
}

func newDefectLog(f *fuse) defectLog {
	lines := new(bytes.Buffer)
	return defectLog{slog.NewJSONHandler(lines, nil), f, new(sync.Mutex), lines}
}

func (l defectLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "session" {
		l.fuse.reach("log")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Handler.Handle(ctx, r)
}

// A defectLine is what a line of the log says of a defect, or of a session's end.
type defectLine struct{ Level, Msg, Route, Outcome, While, Panic, Stack string }

// of returns the lines of a route.
func (l defectLog) of(t *testing.T, route, level string) (found []defectLine) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.lines.Bytes()) {
		var d defectLine
		if err := json.Unmarshal(line, &d); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if d.Route == route && d.Level == level {
			found = append(found, d)
		}
	}
	return found
}

// attempted says commands in turn, each once the one before is answered, and returns
// the answers. It stops where the connection ends.
func attempted(t *testing.T, conn net.Conn, secure *tls.Config, commands ...string) (heard []string) {
	t.Helper()
	defer func() { conn.Close() }()
	conn.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(conn)
	for _, command := range append([]string{""}, commands...) {
		io.WriteString(conn, command) // an error shows when the answer is read
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				if line != "" {
					t.Errorf("heard half a line: %q", line)
				}
				return heard
			}
			if len(line) > 3 && line[3] != '-' {
				heard = append(heard, line)
				break
			}
		}
		if command == "STARTTLS\r\n" {
			conn = tls.Client(conn, secure)
			r = bufio.NewReader(conn)
		}
	}
	return heard
}

// A defectCase is one place where a session meets a panic.
type defectCase struct {
	change func(*proxy.Route)
	says   []string // "": the whole of a delivery
	// heard is the last answer; "": none. Where the panic comes at the end, everything is.
	heard string
	// yes reports whether the server may have the message, and the client knows it.
	yes bool
}

const (
	internalError = "421 4.3.0 internal error\r\n"
	bye           = "221 bye\r\n"
)

var delivery = []string{"EHLO client.example.com.\r\n", "MAIL FROM:<a@example.com>\r\n", "RCPT TO:<b@example.com>\r\n",
	"DATA\r\n", "text\r\n.\r\n", "QUIT\r\n"}

func defectCases() map[string]defectCase {
	withTLS := []string{"EHLO client.example.com\r\n", "STARTTLS\r\n", "EHLO client.example.com\r\n", "QUIT\r\n"}
	offer := func(r *proxy.Route) { r.ClientTLS.Mode = rewrite.ClientTLSOffer }
	return map[string]defectCase{
		"Dialogue":                     {heard: internalError},
		"SessionBegan":                 {heard: internalError},
		"ServerConnected":              {heard: internalError},
		"Line":                         {heard: internalError},
		"Line EHLO client.example.com": {heard: internalError},
		"RuleApplied":                  {heard: internalError},
		"Command ehlo":                 {heard: internalError},
		"Command mail":                 {heard: internalError},
		"Command data":                 {heard: internalError},
		"Reply 354":                    {heard: internalError},
		"ServerReplied mail":           {heard: internalError},
		"ServerReplied end-of-data":    {heard: internalError},
		"Message":                      {heard: internalError},
		"Bytes":                        {heard: internalError},
		"Command quit":                 {heard: internalError, yes: true},
		"SessionEnded":                 {heard: bye, yes: true},
		"End":                          {heard: bye, yes: true},
		"log":                          {heard: bye, yes: true},
		"Refused":                      {change: func(r *proxy.Route) { r.Destinations, r.Servers = nil, []string{proxy.OriginalDestination} }, heard: internalError},
		"dialer":                       {change: func(r *proxy.Route) { r.ServerTLS.Mode = rewrite.ServerTLSImplicit }, heard: internalError},
		"acceptor":                     {change: offer, says: withTLS, heard: "220 "},
		"TLS client":                   {change: offer, says: withTLS, heard: "220 "},
	}
}

// TestAPanicCostsOneSession has a hundred sessions under way in the loop in which
// another panics.
func TestAPanicCostsOneSession(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // one loop
	server := simpleServer(t)
	secure, trusting := testTLS(t)
	for at, c := range defectCases() {
		t.Run(at, func(t *testing.T) {
			if at == "Refused" && runtime.GOOS != "linux" {
				t.Skip("original destinations are Linux's")
			}
			f := &fuse{at: at}
			log := newDefectLog(f)
			shaken := &fusedTLS{f, secure, trusting}
			heard := fused{newCounts(), f}
			bad := &proxy.Route{Name: "bad", Listen: []string{"127.0.0.1:0"}, Servers: []string{server}, Rules: mendsEveryName(t, "standard"),
				Observer: heard, Dialogue: heard.Dialogue, Limits: proxy.Limits{Sessions: 1},
				ClientTLS: proxy.ClientTLS{Acceptor: acceptor{shaken}}, ServerTLS: proxy.ServerTLS{Dialer: shaken}}
			good := &proxy.Route{Name: "good", Listen: []string{"127.0.0.2:0"}, Servers: []string{server}}
			if c.change != nil {
				c.change(bad)
			}
			p := &proxy.Proxy{Logger: slog.New(log)}
			if err := p.Apply([]*proxy.Route{bad, good}); err != nil {
				if at == "Refused" {
					t.Skip(err)
				}
				t.Fatal(err)
			}
			defer p.Close()
			panicsAmongOthers(t, p, c, trusting, p.Addr(bad.Listen[0]), p.Addr(good.Listen[0]))
			wantOneDefect(t, log, bad.Observer.(fused).counts, at)
		})
	}
}

// panicsAmongOthers has a session on the route bad panic, while others are under way
// on the route good.
func panicsAmongOthers(t *testing.T, p *proxy.Proxy, c defectCase, trusting *tls.Config, bad, good net.Addr) {
	t.Helper()
	others := make([]net.Conn, 100)
	for i := range others {
		others[i] = dialFrom(t, "127.0.0.1", good)
	}
	both := func(steps ...smtptest.Step) {
		t.Helper()
		for i, conn := range others {
			if err := smtptest.Play(conn, patience, steps...); err != nil {
				t.Fatalf("session %d: %v", i, err)
			}
		}
	}
	both(smtptest.Expect(greeting), smtptest.Say("EHLO c"), smtptest.Expect("250 ok"), smtptest.Say("DATA"), smtptest.Expect("354 go ahead"))

	says := c.says
	if says == nil {
		says = delivery
	}
	heard := attempted(t, dialFrom(t, "127.0.0.1", bad), trusting, says...)
	last := ""
	if len(heard) > 0 {
		last = heard[len(heard)-1]
	}
	if c.heard == "" && last != "" || !strings.HasPrefix(last, c.heard) {
		t.Errorf("heard %q; want %q last", heard, c.heard)
	}
	if yes := len(heard) > len(delivery)-1 && heard[len(delivery)-1][0] == '2'; c.says == nil && yes != c.yes {
		t.Errorf("heard a yes to the message: %t; want %t", yes, c.yes)
	}

	both(smtptest.Say("text"), smtptest.Say("."), smtptest.Expect("250 ok"), smtptest.Say("QUIT"), smtptest.Expect("221 bye"), smtptest.ExpectEnd())
	eventually(t, func() bool { return p.Sessions() == 0 })
	if last := attempted(t, dialFrom(t, "127.0.0.1", bad), trusting, says...); c.change == nil && (len(last) == 0 || last[len(last)-1] != bye) {
		t.Errorf("the session after it heard %q", last) // its place was not given back
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Drain(ctx); err != nil {
		t.Error(err)
	}
}

// wantOneDefect wants one line in the log, with a stack, one count, and the outcome.
func wantOneDefect(t *testing.T, log defectLog, counts *counts, at string) {
	t.Helper()
	// A session that has left may still be about to say so.
	eventually(t, func() bool { return len(log.of(t, "bad", "ERROR")) > 0 && counts.get("defect") > 0 })
	defects := log.of(t, "bad", "ERROR")
	if len(defects) != 1 {
		t.Fatalf("%d lines tell of it", len(defects))
	}
	if d := defects[0]; !strings.Contains(d.Panic, "index out of range") || !strings.Contains(d.Stack, "proxy_test.(*fuse).reach") || d.While == "" {
		t.Errorf("the line says %+v", d)
	}
	if n := counts.get("defect"); n != 1 {
		t.Errorf("counted %d times", n)
	}
	if at == "Dialogue" || at == "Refused" || at == "SessionEnded" {
		return // there was no session yet, or the observer has heard of its end already
	}
	if n := counts.get("ended defect"); n != 1 && at != "End" && at != "log" {
		t.Errorf("the outcome defect is counted %d times", n)
	}
	if at == "log" {
		return
	}
	eventually(t, func() bool { return len(log.of(t, "bad", "WARN")) > 0 })
	if ended := log.of(t, "bad", "WARN"); ended[0].Outcome != "defect" {
		t.Errorf("the log has %+v", ended)
	}
}
