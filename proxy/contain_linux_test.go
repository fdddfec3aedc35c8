//go:build !portable

package proxy

import (
	"context"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy/smtptest"
	"smtpshim/proxy/wire"
)

// starttlsServer is a server that goes opaque after STARTTLS and says what it hears.
func starttlsServer(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				smtptest.Play(conn, time.Minute, smtptest.Say("220 a ESMTP"), smtptest.Expect("EHLO c"),
					smtptest.Say("250-a"), smtptest.Say("250 STARTTLS"), smtptest.Expect("STARTTLS"), smtptest.Say("220 go"),
					smtptest.Expect("sealed"), smtptest.Say("sealed too"), smtptest.ExpectEnd())
			}()
		}
	}()
	return l.Addr().String()
}

// awaitIdle waits until the one session of a proxy is idle, and returns it.
func awaitIdle(t *testing.T, p *Proxy) *session {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); !isIdle(p); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("no session is idle")
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.sessions {
		return s
	}
	return nil
}

// inLoopOf runs f in the loop of a proxy.
func inLoopOf(p *Proxy, f func()) {
	done := make(chan struct{})
	p.loops.Go(func(*wire.Runner) {
		defer close(done)
		f()
	})
	<-done
}

// idleSession is a session that waits for its client, who has the greeting and the
// answer to EHLO.
func idleSession(t *testing.T) (log *smtptest.Log, p *Proxy, s *session, client net.Conn) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // one loop
	log = new(smtptest.Log)
	p = &Proxy{Logger: slog.New(slog.NewTextHandler(log, nil))}
	t.Cleanup(func() { p.Close() })
	if err := p.Apply([]*Route{{Name: "in", Listen: []string{"127.0.0.1:0"}, Servers: []string{starttlsServer(t)}}}); err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", p.Addr("127.0.0.1:0").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := smtptest.Play(client, time.Minute, smtptest.Expect("220 a ESMTP"), smtptest.Say("EHLO c"),
		smtptest.Expect("250-a"), smtptest.Expect("250 STARTTLS")); err != nil {
		t.Fatal(err)
	}
	return log, p, awaitIdle(t, p), client
}

// wantDefect wants the session to end for a defect that is logged once.
func wantDefect(t *testing.T, p *Proxy, log *smtptest.Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Drain(ctx); err != nil {
		t.Error(err)
	}
	text := log.String()
	if n := strings.Count(text, "level=ERROR"); n != 1 || !strings.Contains(text, "panic=boom stack=") || !strings.Contains(text, "outcome=defect") {
		t.Errorf("%d errors are logged in\n%s", n, text)
	}
}

func TestAPanicInAnOpaqueStretchEndsItWithoutAWord(t *testing.T) {
	for half, leg := range map[string]func(*session) *wire.Leg{
		"from the client": func(s *session) *wire.Leg { return s.client },
		"from the server": func(s *session) *wire.Leg { return s.server },
	} {
		t.Run(half, func(t *testing.T) {
			log, p, s, client := idleSession(t)
			inLoopOf(p, func() {
				leg(s).OnDrained(func() {
					if s.mute {
						panic("boom")
					}
				})
			})
			smtptest.Play(client, time.Minute, smtptest.Say("STARTTLS"), smtptest.Expect("220 go"), smtptest.Say("sealed"))
			if err := smtptest.Play(client, time.Minute, smtptest.ExpectEnd()); err != nil {
				t.Error(err)
			}
			wantDefect(t, p, log)
		})
	}
}

func TestAPanicWithinAReadLeavesNoLockBehind(t *testing.T) {
	log, p, s, client := idleSession(t)
	inLoopOf(p, func() { s.client.OnDrained(func() { panic("boom") }) })
	if err := smtptest.Play(client, time.Minute, smtptest.Say("NOOP"), smtptest.Expect("421 4.3.0 internal error"), smtptest.ExpectEnd()); err != nil {
		t.Error(err)
	}
	wantDefect(t, p, log)
}

func TestASessionThatIsLostEndsWithoutAWord(t *testing.T) {
	log, p, s, client := idleSession(t)
	s.Lose(wire.Contain(func() { panic("boom") }))
	if err := smtptest.Play(client, time.Minute, smtptest.ExpectEnd()); err != nil {
		t.Error(err)
	}
	wantDefect(t, p, log)
}
