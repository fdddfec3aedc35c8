package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"smtpshim/cmd/smtpshim/internal/config"
	"smtpshim/proxy"
	probelisten "smtpshim/proxy/probe/listen"
	"smtpshim/proxy/smtptest"
	"smtpshim/proxy/tlspolicy"
)

// wholeMessage is one that has all that RFC 5322 asks for.
var wholeMessage = smtptest.Message{From: "sender@example.com", To: []string{"recipient@example.com"},
	Body: []byte("Date: Mon, 1 Feb 1999 10:00:00 +0000\r\nFrom: sender@example.com\r\nMessage-ID: <1@example.com>\r\n\r\nhello\r\n")}

// examined is a listening probe that tests talk to.
type examined struct {
	addr    string
	stop    func() (printed string) // ends it
	printed *heard
}

// deliver has a client send a message, and waits until the probe has printed the session:
// until then another session would meet the same server.
func (e examined) deliver(t *testing.T, client smtptest.Client, session int) {
	t.Helper()
	client.Deliver(dialer(e.addr), wholeMessage)
	e.printed.wait(t, fmt.Sprintf(", session %d\n", session), 1)
}

func startListenProbe(t *testing.T, p listenProbe) examined {
	t.Helper()
	stdout := newHeard()
	var stderr bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	at, status := make(chan net.Addr, 1), make(chan int, 1)
	p.address = loopback
	p.listening = func(a net.Addr) { at <- a }
	go func() { status <- p.run(ctx, stdout, &stderr) }()
	select {
	case a := <-at:
		return examined{a.String(), func() string {
			cancel()
			if s := <-status; s != succeeded || stderr.Len() > 0 {
				t.Errorf("ended with %d: %s", s, &stderr)
			}
			return stdout.String()
		}, stdout}
	case s := <-status:
		cancel()
		t.Fatalf("ended with %d: %s", s, &stderr)
		panic("not reached")
	}
}

// sends has a stand-in send a message so often.
func (e examined) sends(t *testing.T, name string, times int, change func(*smtptest.Client)) {
	t.Helper()
	client, ok := smtptest.LookupClient(name)
	if !ok {
		t.Fatalf("there is no stand-in %s", name)
	}
	client.Timeout = 20 * time.Second
	if change != nil {
		change(&client)
	}
	for range times {
		client.Deliver(dialer(e.addr), wholeMessage)
	}
}

func TestAListeningProbePrintsWhatAClientGetsWrong(t *testing.T) {
	e := startListenProbe(t, listenProbe{pause: time.Millisecond})
	e.sends(t, "notes", 1, nil)
	printed := e.stop()
	for _, want := range []string{
		"Examining the clients that come to " + e.addr + ".", "127.0.0.1, session 1\n", "  Fault:      the name in its EHLO or HELO ends with a dot\n",
		"\nC: EHLO sub2.\n", "  Next:       a server whose replies have two lines that arrive separately\n",
		"127.0.0.1, in all\n", "  Through:    it sends a message to a modern server\n", "hello-dot (L25)", "rules = [\"standard\"",
	} {
		if !strings.Contains(printed, want) {
			t.Errorf("%q is not in\n%s", want, printed)
		}
	}
	for line := range strings.Lines(printed) {
		if len(line) > columns+1 && strings.Contains(line, " ") && !strings.Contains(line, "= [") {
			t.Errorf("%q is too long", line)
		}
	}
}

// Once a client has met every form its sessions go through smtpshim, and nothing is wrong
// with what comes out of that.
func TestAListeningProbeTriesTheRouteOut(t *testing.T) {
	believing := func(c *smtptest.Client) { c.TLS = &tls.Config{InsecureSkipVerify: true} }
	for _, test := range []struct {
		client  string
		change  func(*smtptest.Client)
		without int
	}{
		{"notes", nil, 2}, {"needs-esmtp", nil, 1}, {"exchange-5.0", nil, 1}, {"exchange-5.5", believing, 1},
	} {
		e := startListenProbe(t, listenProbe{pause: time.Millisecond, asJSON: true, proxy: true})
		e.sends(t, test.client, 16, test.change)
		var all struct {
			Mended map[string]mendedResult
		}
		lines := strings.Split(strings.TrimSpace(e.stop()), "\n")
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &all); err != nil {
			t.Fatalf("%v in %s", err, lines)
		}
		got := all.Mended["127.0.0.1"]
		if got.Without != test.without || got.With != nil || got.Untried != nil || got.Sessions < 3 || got.Through != "a modern server" || got.Err != "" {
			t.Errorf("%s: %+v of\n%s", test.client, got, strings.Join(lines, "\n"))
		}
	}
}

func TestAListeningProbeSaysHowTheRouteDoes(t *testing.T) {
	e := startListenProbe(t, listenProbe{pause: time.Millisecond, proxy: true})
	e.sends(t, "notes", 16, nil)
	printed := e.stop()
	for _, want := range []string{
		"goes through smtpshim with a route", "\n\n  [[route]]\n", "127.0.0.1, through smtpshim, session 1\n  Met:        a modern server\n",
		"  Faults:     without: 2; with: 0\n", "  Smtpshim:   without: 2 faults; with: 0, in ",
	} {
		if !strings.Contains(printed, want) {
			t.Errorf("%q is not in\n%s", want, printed)
		}
	}
	e = startListenProbe(t, listenProbe{pause: time.Millisecond, proxy: true})
	e.sends(t, "modern", 16, nil)
	if printed := e.stop(); strings.Contains(printed, "through smtpshim") {
		t.Errorf("there is nothing to heal:\n%s", printed)
	}
}

// The route that is proposed is one that check takes, whatever was found.
func TestTheRouteOfAListeningProbeIsARoute(t *testing.T) {
	for _, test := range []struct {
		client string
		change func(*smtptest.Client)
		has    string
	}{
		{"notes", nil, `rules = ["standard"]`},
		{"exchange-5.0", nil, `rules = ["standard"]`},
		{"needs-esmtp", nil, `when = "always"`},
		{"modern", func(c *smtptest.Client) {
			c.TLS = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}
		}, `allow = ["obsolete-tls-1.0"]`},
	} {
		e := startListenProbe(t, listenProbe{pause: time.Millisecond})
		e.sends(t, test.client, 6, test.change)
		_, route, found := strings.Cut(e.stop(), "\n[[route]]\n")
		if route = "[[route]]\n" + route; !found || !strings.Contains(route, test.has) {
			t.Errorf("%s: %q is not in\n%s", test.client, test.has, route)
			continue
		}
		path := filepath.Join(t.TempDir(), "smtpshim.toml")
		write(t, path, "state_dir = "+quote(t.TempDir())+"\n"+route)
		if _, err := config.Read(path, tlspolicy.SelfSigned); err != nil {
			t.Errorf("%s: %v in\n%s", test.client, err, route)
		}
	}
}

func quote(text string) string { return `"` + text + `"` }

func TestAListeningProbePrintsJSON(t *testing.T) {
	e := startListenProbe(t, listenProbe{pause: time.Millisecond, asJSON: true})
	e.sends(t, "notes", 2, nil)
	lines := json.NewDecoder(strings.NewReader(e.stop()))
	for n := range 2 {
		var v probelisten.Visit
		if err := lines.Decode(&v); err != nil || v.Session != n+1 || !v.Through {
			t.Fatalf("%+v, %v", v, err)
		}
	}
	var all struct {
		Callers []probelisten.Caller
		Route   string
	}
	if err := lines.Decode(&all); err != nil || len(all.Callers) != 1 || all.Callers[0].Sessions != 2 || all.Route == "" {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestAListeningProbeThatCannotListenFails(t *testing.T) {
	var stdout, stderr bytes.Buffer
	status := listenProbe{address: "192.0.2.1:25"}.run(t.Context(), &stdout, &stderr)
	if status != failed || !strings.HasPrefix(stderr.String(), "smtpshim probe: listening on 192.0.2.1:25: ") || stdout.Len() > 0 {
		t.Errorf("%d, %q, %q", status, &stdout, &stderr)
	}
}

// For the client of each founding article: by the route that is printed, its message
// arrives at the server of the article.
func TestTheRouteOfAListeningProbeMakesTheMailArrive(t *testing.T) {
	t.Parallel()
	for _, s := range scenes() {
		t.Run(s.article, func(t *testing.T) {
			t.Parallel()
			server, client, err := s.peers()
			if err != nil {
				t.Fatal(err)
			}
			if client.TLS != nil {
				client.TLS = &tls.Config{InsecureSkipVerify: true} // of certificates that are made here and there
			}
			pause, sessions := time.Millisecond, 6
			if client.FirstLine != smtptest.FirstLineNever {
				pause, sessions = 5*time.Second, 2 // it speaks at once, which ends the pause
			}
			e := startListenProbe(t, listenProbe{pause: pause})
			for i := range sessions {
				e.deliver(t, client, i+1)
			}
			_, text, found := strings.Cut(e.stop(), "\n[[route]]\n")
			if !found {
				t.Fatal("there is no route")
			}
			running, err := startStandIn(server, loopback)
			if err != nil {
				t.Fatal(err)
			}
			defer running.Close()
			dial := proxyOf(t, "[[route]]\n"+strings.ReplaceAll(text, quote("mail.example.com:25"), quote(running.Addr())))
			results := client.DeliverUntilDone(dial, wholeMessage, attempts)
			running.Wait()
			if got := tell(results, len(running.Messages())); got != onceDelivered {
				t.Errorf("%s, by the route\n%s\n%s", got, text, results[0].Dialogue)
			}
		})
	}
}

// proxyOf runs the route of a configuration, until the test is over.
func proxyOf(t *testing.T, text string) smtptest.Dial {
	t.Helper()
	path := filepath.Join(t.TempDir(), "smtpshim.toml")
	write(t, path, "state_dir = "+quote(t.TempDir())+"\n"+text)
	c, err := config.Read(path, tlspolicy.SelfSigned)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	r := c.Routes[0].Route
	r.Listen = []string{loopback}
	p := &proxy.Proxy{Logger: slog.New(slog.DiscardHandler)}
	if err := p.Apply([]*proxy.Route{r}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return dialer(p.Addr(loopback).String())
}

func TestAListeningProbeIsNotAboutAServer(t *testing.T) {
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"-accept"}, "-accept needs -listen ADDR"},
		{[]string{"-listen", loopback, "mail.example.com"}, `"mail.example.com" would be a server`},
		{[]string{"-listen", loopback, "-mail", "a@example.com"}, "-mail is about a server"},
	} {
		var stdout, stderr bytes.Buffer
		status := run(append([]string{"probe"}, test.args...), &stdout, &stderr)
		if status != misused || !strings.Contains(stderr.String(), test.says) || !strings.Contains(stderr.String(), "usage: smtpshim probe ") {
			t.Errorf("%q: %d, %s", test.args, status, &stderr)
		}
	}
}
