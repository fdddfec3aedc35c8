package page

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"smtpshim/metrics"
)

// A pipes is a listener whose connections are made here, so that time on them is
// that of a synctest bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours, nil
}

// An audience asks a stream on an admin listener.
type audience struct {
	t      *testing.T
	server *http.Server
	client *http.Client
	events chan string
	asked  chan string // the filters that were asked for
	ended  chan error
}

func gather(t *testing.T) *audience {
	a := &audience{t: t, events: make(chan string), asked: make(chan string, 100), ended: make(chan error, 1)}
	stream := NewStream(func(f Filter) (<-chan string, func()) {
		asked := f.Route
		if f.Healed {
			asked += " healed"
		}
		if f.Outcome != "" {
			asked += " " + f.Outcome
		}
		a.asked <- asked
		return a.events, func() { a.asked <- "stop" }
	}, func(event string) any { return event })
	a.server = metrics.Admin(prometheus.NewRegistry(), func() (string, error) { return "", nil }, false)
	a.server.Handler = stream
	a.server.RegisterOnShutdown(stream.Close)
	l := &pipes{make(chan net.Conn), make(chan struct{})}
	a.client = &http.Client{Transport: &http.Transport{DialContext: l.dial, DisableCompression: true}}
	go func() { a.ended <- a.server.Serve(l) }()
	return a
}

// listen asks for events; lines are those that are not empty.
func (a *audience) listen(query string) (response *http.Response, line func() string) {
	a.t.Helper()
	response, err := a.client.Get("http://127.0.0.1/events" + query)
	if err != nil {
		a.t.Fatal(err)
	}
	lines := bufio.NewScanner(response.Body)
	return response, func() string {
		for lines.Scan() {
			if lines.Text() != "" {
				return lines.Text()
			}
		}
		return ""
	}
}

// leave ends it all.
func (a *audience) leave() {
	a.server.Close()
	a.client.CloseIdleConnections()
	<-a.ended
}

func TestAStreamOutlastsTheTimeoutsOfTheListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := gather(t)
		response, line := a.listen("?route=in&healed=1&outcome=refused")
		if asked := <-a.asked; asked != "in healed refused" {
			t.Errorf("asked for %q", asked)
		}
		if kind := response.Header.Get("Content-Type"); kind != "text/event-stream" {
			t.Errorf("it is %s", kind)
		}
		began, beats := time.Now(), 0
		if got := line(); !strings.HasPrefix(got, ":") {
			t.Errorf("began with %q", got)
		}
		for range 10 {
			if got := line(); strings.HasPrefix(got, ":") {
				beats++
			}
		}
		if took := time.Since(began); beats != 10 || took != 10*heartbeat {
			t.Errorf("%d heartbeats in %s, want 10 in %s", beats, took, 10*heartbeat)
		}
		a.events <- "hello\n\ndata: <b>"
		if got, want := line(), `data: "hello\n\ndata: \u003cb\u003e"`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		response.Body.Close()
		if asked := <-a.asked; asked != "stop" {
			t.Errorf("%q behind a listener who went", asked)
		}
		a.leave()
	})
}

func TestAListenerWhoTakesNothingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := gather(t)
		response, line := a.listen("")
		line()
		<-a.asked
		began := time.Now()
		if asked := <-a.asked; asked != "stop" {
			t.Fatal(asked)
		}
		if took, most := time.Since(began), 2*heartbeat+2*patience; took > most {
			t.Errorf("it was served for %s, want at most %s", took, most)
		}
		response.Body.Close()
		a.leave()
	})
}

func TestOneMoreThanAllIsRefusedUntilOneGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := gather(t)
		var all []*http.Response
		for range mostListeners {
			response, _ := a.listen("")
			all = append(all, response)
			<-a.asked
		}
		if response, _ := a.listen(""); response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
			t.Errorf("one more: %s %v", response.Status, response.Header)
		} else {
			response.Body.Close()
		}
		all[0].Body.Close()
		<-a.asked
		synctest.Wait()
		response, _ := a.listen("")
		if response.StatusCode != http.StatusOK {
			t.Errorf("after one went: %s", response.Status)
		}
		for _, r := range append(all[1:], response) {
			r.Body.Close()
		}
		a.leave()
	})
}

func TestShutdownDoesNotWaitForListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := gather(t)
		response, line := a.listen("")
		line()
		last := make(chan string, 1)
		go func() { last <- line() }()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := a.server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
		if got := <-last; got != "" {
			t.Errorf("the stream goes on with %q", got)
		}
		response.Body.Close()
		a.leave()
	})
}
