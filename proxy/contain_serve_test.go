package proxy

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy/smtptest"
)

// A failing connection panics in the read after so many.
type failing struct {
	net.Conn
	reads int
}

func (f *failing) Read(b []byte) (int, error) {
	if f.reads--; f.reads < 0 {
		panic("boom")
	}
	return f.Conn.Read(b)
}

// TestAPanicOnAGoroutineCostsItsSession has sessions run as they do where there are no
// loops. Silence has the server watched by a goroutine of its own.
func TestAPanicOnAGoroutineCostsItsSession(t *testing.T) {
	for where, reads := range map[string]int{"greeting": 0, "reply": 1, "watch": 2} {
		t.Run(where, func(t *testing.T) {
			var log strings.Builder
			p := &Proxy{Logger: slog.New(slog.NewTextHandler(&log, nil))}
			p.dial = func(context.Context, string) (net.Conn, error) {
				near, far := net.Pipe()
				go smtptest.Play(far, time.Minute, smtptest.Say("220 a ESMTP"), smtptest.Expect("EHLO c"), smtptest.Say("250 a"), smtptest.ExpectEnd())
				return &failing{near, reads}, nil
			}
			near, far := net.Pipe()
			defer far.Close()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				p.Serve(near, &Route{Name: "test", Servers: []string{"192.0.2.1:25"}})
			}()
			far.SetDeadline(time.Now().Add(time.Minute))
			go io.WriteString(far, "EHLO c\r\n")
			heard, _ := io.ReadAll(far)
			if !strings.HasSuffix(string(heard), "421 4.3.0 internal error\r\n") {
				t.Errorf("the client hears %q", heard)
			}
			<-ended
			if err := p.Drain(t.Context()); err != nil || p.Sessions() != 0 {
				t.Errorf("%d sessions are left, %v", p.Sessions(), err)
			}
			if text := log.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "outcome=defect") {
				t.Errorf("the log has\n%s", text)
			}
		})
	}
}

func TestAPanicOfACheckIsCountedAndTheNextOneComes(t *testing.T) {
	defects := make(chan struct{})
	p := &Proxy{Logger: slog.New(slog.DiscardHandler), dial: func(context.Context, string) (net.Conn, error) {
		panic("boom")
	}}
	defer p.Close()
	r := &Route{Name: "in", Servers: []string{"192.0.2.1:25"}, Health: Health{Interval: time.Millisecond}, Observer: defectObserver{told: defects}}
	if err := p.Apply([]*Route{r}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		select {
		case <-defects:
		case <-time.After(time.Minute):
			t.Fatal("no defect is counted")
		}
	}
	if s := p.Servers()[0]; !s.Healthy {
		t.Errorf("the server is blamed: %+v", s)
	}
}

// A defectObserver hears of defects alone: a check tells an observer of nothing else.
type defectObserver struct {
	Observer
	told chan<- struct{}
}

func (o defectObserver) Defect() {
	select {
	case o.told <- struct{}{}:
	default: // the test has seen enough
	}
}
