package proxy

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"smtpshim/proxy/header"
	"smtpshim/proxy/servers"
	"smtpshim/proxy/smtptest"
)

// checked is a route whose servers are looked after every minute.
func checked(servers ...string) Route {
	return Route{Servers: servers, Health: Health{Interval: time.Minute, Timeout: 20 * time.Second}}
}

// two is time enough for two checks.
const two = 2*time.Minute + 2*6*time.Second + 2*20*time.Second

func (c *cluster) wantHealthy(want ...bool) {
	c.t.Helper()
	var got []bool
	for _, s := range c.proxy.Servers() {
		got = append(got, s.Healthy)
		if s.Up && !s.Healthy {
			c.t.Errorf("%+v is up", s)
		}
	}
	if !slices.Equal(got, want) {
		c.t.Errorf("healthy: %v, want %v", got, want)
	}
}

func TestAServerThatFailsItsChecksIsLeftAloneUntilItPassesOne(t *testing.T) {
	for _, mood := range []string{"refuses", "silent", "black hole", "nonsense", "421 busy", "554 no"} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, checked("a", "b"))
			wait(two)
			c.wantHealthy(true, true)
			c.now("a", mood)
			wait(two)
			c.wantHealthy(false, true)
			c.wants("220 b", "b")
			wait(servers.LongestRest + servers.FirstRest - time.Second) // no session has to find out
			c.wantHealthy(false, true)
			c.wants("220 b", "b")
			c.now("b", mood)
			wait(two)
			c.wantHealthy(false, false)
			c.now("a", "")
			wait(two)
			c.wantHealthy(true, false)
			c.wants("220 a", "a")
		})
	}
}

func TestOneFailedCheckMayBeChance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, checked("a"))
		synctest.Wait() // the first one comes at once
		if got := c.tried(); got != "a" {
			t.Errorf("tried %q", got)
		}
		c.now("a", "refuses")
		wait(66 * time.Second)
		if got := c.tried(); got != "a" {
			t.Errorf("tried %q", got)
		}
		c.now("a", "")
		c.wantHealthy(true)
		wait(66 * time.Second)
		c.now("a", "refuses")
		wait(66 * time.Second)
		c.wantHealthy(true)
		wait(66 * time.Second)
		c.wantHealthy(false)
	})
}

func TestNobodyIsRefusedBecauseOfChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, checked("a", "b"))
		c.now("a", "refuses")
		wait(two)
		c.now("b", "refuses")
		c.wants(unavailable, "b a")
		c.wants(unavailable, "b a") // b rests, but a is known to be ill
		wait(two)
		c.wantHealthy(false, false)
		c.now("b", "")
		c.wants("220 b", "a b")
	})
}

func TestACheckEndsTheRestThatASessionBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := checked("a", "b")
		r.Health.Interval = 10 * time.Second
		c := newCluster(t, r)
		synctest.Wait()
		c.now("a", "refuses")
		c.wants("220 b", "a b")
		c.now("a", "")
		wait(11 * time.Second)
		c.wants("220 a", "a")
	})
}

func TestAServerWithoutChecksIsHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, Route{Servers: []string{"a"}})
		c.now("a", "refuses")
		c.call()
		c.tried()
		wait(day)
		c.wantHealthy(true)
		if got := c.tried(); got != "" {
			t.Errorf("tried %q", got)
		}
	})
}

func TestChecksEndWithTheirRoute(t *testing.T) {
	for name, end := range map[string]func(*cluster){
		"a reload": func(c *cluster) { c.reload(Route{Servers: []string{"a"}}) },
		"a drain":  func(c *cluster) { c.proxy.Drain(context.Background()) },
		"a close":  func(c *cluster) { c.proxy.Close() },
	} {
		for _, mood := range []string{"", "refuses", "silent", "black hole"} {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, checked("a"))
				c.now("a", mood)
				wait(5 * time.Minute)
				end(c)
				synctest.Wait()
				c.tried()
				wait(time.Hour)
				if got := c.tried(); got != "" {
					t.Errorf("%s: tried %q afterwards", name, got)
				}
			})
		}
	}
}

func TestWhatChecksFoundGoesWithThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, checked("a", "b"))
		c.now("a", "refuses")
		wait(two)
		c.reload(checked("a", "b"))
		c.wantHealthy(false, true)
		c.reload(Route{Servers: []string{"a", "b"}})
		c.wantHealthy(true, true)
	})
}

func TestACheckSaysNoMoreThanItHasTo(t *testing.T) {
	for _, test := range []struct {
		name   string
		server []smtptest.Step
		why    string // it failed
	}{
		{"ESMTP", steps(smtptest.Say("220-mail.example.com", "220 ESMTP"), smtptest.Expect("EHLO shim.example.com"),
			smtptest.Say("250-mail.example.com", "250 SIZE 0"), smtptest.Expect("QUIT"), smtptest.Say("221 bye"), smtptest.ExpectEnd()), ""},
		{"no ESMTP", steps(smtptest.Say("220 mail.example.com"), smtptest.Expect("EHLO shim.example.com"),
			smtptest.Say("500 what?"), smtptest.Expect("QUIT"), smtptest.Say("221 bye"), smtptest.ExpectEnd()), ""},
		{"no answer to QUIT", steps(smtptest.Say("220 mail.example.com"), smtptest.Expect("EHLO shim.example.com"),
			smtptest.Say("250 mail.example.com"), smtptest.Expect("QUIT"), smtptest.ExpectEnd()), ""},
		{"busy", steps(smtptest.Say("220 mail.example.com"), smtptest.Expect("EHLO shim.example.com"),
			smtptest.Say("421 busy"), smtptest.ExpectEnd()), "EHLO answered with 421"},
		{"silent", steps(smtptest.Say("220 mail.example.com"), smtptest.Expect("EHLO shim.example.com"), smtptest.ExpectEnd()),
			"waiting for the answer to EHLO: "},
		{"refuses", steps(smtptest.Say("554 no"), smtptest.ExpectEnd()), "greeted with 554"},
		{"hangs up", steps(smtptest.Close()), "waiting for the greeting: "},
		{"endless", steps(smtptest.Send("220-"+strings.Repeat("x", maxReply)), smtptest.ExpectEnd()), "waiting for the greeting: "},
		{"bare LF", steps(smtptest.Send("220 mail.example.com\n"), smtptest.ExpectEnd()), "waiting for the greeting: "},
	} {
		synctest.Test(t, func(t *testing.T) {
			played := make(chan error, 1)
			p := &Proxy{dial: func(context.Context, string) (net.Conn, error) {
				near, far := net.Pipe()
				go func() {
					defer far.Close()
					played <- smtptest.Play(far, day, test.server...)
				}()
				return near, nil
			}}
			p.prepare()
			r := checked("a")
			err := p.examine(t.Context(), newRunning(&r, "shim.example.com"), "a")
			if (err == nil) != (test.why == "") || err != nil && !strings.HasPrefix(err.Error(), test.why) {
				t.Errorf("%s: %v, want %q", test.name, err, test.why)
			}
			if err := <-played; err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		})
	}
}

func TestACheckIsNobodysConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		played := make(chan error, 1)
		p := &Proxy{dial: func(context.Context, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				played <- smtptest.Play(far, day, smtptest.Expect("PROXY UNKNOWN"), smtptest.Say("220 mail.example.com"),
					smtptest.Expect("EHLO shim.example.com"), smtptest.Say("250 ok"), smtptest.Expect("QUIT"), smtptest.Close())
			}()
			return near, nil
		}}
		p.prepare()
		r := checked("a")
		r.ProxySend = header.V1
		if err := p.examine(t.Context(), newRunning(&r, "shim.example.com"), "a"); err != nil {
			t.Error(err)
		}
		if err := <-played; err != nil {
			t.Error(err)
		}
	})
}

func TestFlipsOfHealthAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := newCluster(t, checked("a", "b"))
		c.proxy.Logger = slog.New(slog.NewTextHandler(&log, nil))
		for range 2 {
			c.now("a", "refuses")
			wait(time.Hour)
			c.now("a", "")
			wait(time.Hour)
		}
		c.proxy.Close()
		if fails, passes := strings.Count(log.String(), "fails its checks"), strings.Count(log.String(), "passes its checks again"); fails != 2 || passes != 2 {
			t.Errorf("logged %d and %d times:\n%s", fails, passes, &log)
		}
	})
}
