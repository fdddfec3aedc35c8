package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"smtpshim/proxy/servers"
)

// A cluster is a route whose servers are in memory, where time stands still
// until everyone waits.
type cluster struct {
	t     *testing.T
	proxy *Proxy
	route *running

	mu      sync.Mutex
	mood    map[string]string // of a server: a greeting, "refuses", "silent", "black hole"; "": it greets with its name
	dialled []string
}

func newCluster(t *testing.T, r Route) *cluster {
	c := &cluster{t: t, mood: map[string]string{}}
	c.proxy = &Proxy{Logger: slog.New(slog.DiscardHandler), dial: c.dial}
	c.proxy.prepare()
	c.reload(r)
	t.Cleanup(func() { c.proxy.Close() })
	return c
}

// reload serves a route instead of the one before.
func (c *cluster) reload(r Route) {
	r.Name, r.Timeouts = "in", distinct
	c.route = newRunning(&r, "shim.example.com")
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	c.proxy.serve([]*running{c.route})
}

func (c *cluster) now(server, mood string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mood[server] = mood
}

func (c *cluster) dial(ctx context.Context, server string) (net.Conn, error) {
	c.mu.Lock()
	c.dialled = append(c.dialled, server)
	mood := c.mood[server]
	c.mu.Unlock()
	switch mood {
	case "refuses":
		return nil, errors.New("connection refused")
	case "black hole":
		deadline, _ := ctx.Deadline()
		select {
		case <-time.After(time.Until(deadline)):
			return nil, context.DeadlineExceeded
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case "hangs up":
		near, far := net.Pipe()
		far.Close()
		return near, nil
	case "silent":
		near, far := net.Pipe()
		go io.Copy(io.Discard, far)
		return near, nil
	case "":
		mood = "220 " + server
	}
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		fmt.Fprintf(far, "%s\r\n", mood)
		for lines := bufio.NewScanner(far); lines.Scan(); {
			if lines.Text() == "QUIT" {
				fmt.Fprint(far, "221 bye\r\n")
				return
			}
			fmt.Fprint(far, "250 ok\r\n")
		}
	}()
	return near, nil
}

// tried are the servers that were dialled since it was asked last.
func (c *cluster) tried() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := strings.Join(c.dialled, " ")
	c.dialled = nil
	return list
}

// A visitor is a client that has been greeted.
type visitor struct {
	net.Conn
	greeting string
}

// visit begins a session.
func (c *cluster) visit() visitor {
	near, far := net.Pipe()
	go c.proxy.accepted(&pipeFrom{near}, c.route)
	line, _ := bufio.NewReader(far).ReadString('\n')
	return visitor{far, strings.TrimSuffix(line, "\r\n")}
}

// pipeFrom is a client's connection, which has no address.
type pipeFrom struct{ net.Conn }

func (pipeFrom) RemoteAddr() net.Addr { return nil }
func (pipeFrom) LocalAddr() net.Addr  { return nil }

// call is a session from its beginning to its end. It gives the greeting.
func (c *cluster) call() string {
	v := c.visit()
	v.Close()
	synctest.Wait()
	return v.greeting
}

// wants calls, and wants to be greeted so after these servers were tried.
func (c *cluster) wants(greeting, tried string) {
	c.t.Helper()
	c.tried()
	if got := c.call(); got != greeting {
		c.t.Errorf("greeted with %q, want %q", got, greeting)
	}
	if got := c.tried(); got != tried {
		c.t.Errorf("tried %q, want %q", got, tried)
	}
}

const unavailable = "421 4.3.2 server not available"

// wait lets so much time pass.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestAServerThatDoesNotGreetIsLeftAloneForAWhile(t *testing.T) {
	for _, mood := range []string{"refuses", "hangs up", "silent", "black hole", "nonsense"} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, Route{Servers: []string{"a", "b"}})
			c.wants("220 a", "a")
			c.now("a", mood)
			c.wants("220 b", "a b")
			c.wants("220 b", "b")
			for _, rest := range []time.Duration{30, 60, 120, 240, 300, 300} {
				wait(rest*time.Second - time.Second)
				c.wants("220 b", "b")
				wait(time.Second)
				c.wants("220 b", "a b")
			}
			wait(servers.LongestRest)
			c.now("a", "")
			c.wants("220 a", "a")
			c.wants("220 a", "a")
			c.now("a", mood)
			c.wants("220 b", "a b")
			wait(servers.FirstRest) // as if it had never failed before
			c.now("a", "")
			c.wants("220 a", "a")
		})
	}
}

func TestWhatTheClientGetsAndHowSoon(t *testing.T) {
	for _, test := range []struct {
		first, hears string // with no other server
		after        time.Duration
		good         string // with another, that greets
	}{
		{"", "220 a", 0, "220 a"},
		{"refuses", unavailable, 0, "220 b"},
		{"black hole", unavailable, distinct.Connect, "220 b"},
		{"hangs up", unavailable, 0, "220 b"},
		{"silent", unavailable, distinct.Greeting, "220 b"},
		{"nonsense", unavailable, 0, "220 b"},
		{"354 go ahead", "421 4.3.0 server broke the protocol", 0, "220 b"},
		{"421 4.3.2 busy", "421 4.3.2 busy", 0, "220 b"},
		{"554 5.7.1 not you", "554 5.7.1 not you", 0, "220 b"},
	} {
		for hears, servers := range map[string][]string{test.hears: {"a"}, test.good: {"a", "b"}} {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, Route{Servers: servers})
				c.now("a", test.first)
				began := time.Now()
				if got := c.greets(); got != hears || time.Since(began) != test.after {
					t.Errorf("%q and %d servers: greeted with %q after %v; want %q after %v",
						test.first, len(servers), got, time.Since(began), hears, test.after)
				}
			})
		}
	}
}

func TestAServerThatGreetsBadlyIsNotLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, Route{Servers: []string{"a", "b"}})
		c.now("a", "421 busy")
		c.wants("220 b", "a b")
		c.wants("220 b", "a b")
		c.now("b", "554 no")
		c.wants("554 no", "a b")
		c.now("b", "refuses")
		c.wants("421 busy", "a b")
		c.wants("421 busy", "a b") // b rests, and comes after a; but it comes
	})
}

func TestNobodyIsRefusedBecauseServersRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, Route{Servers: []string{"a", "b", "c"}})
		for _, server := range c.route.Servers {
			c.now(server, "refuses")
		}
		c.wants(unavailable, "a b c")
		c.now("c", "")
		c.wants("220 c", "a b c")
		c.wants("220 c", "c")
		wait(2 * servers.LongestRest)
		c.wants("220 c", "a b c") // a and b rest for the second time
		c.now("c", "refuses")
		c.wants(unavailable, "c a b")
		wait(servers.FirstRest)
		c.wants(unavailable, "c a b") // its rest is over, and then whose rest ends first
	})
}

func TestOfServersThatRestTheOneWhoseRestEndsFirstIsTriedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, Route{Servers: []string{"a", "b"}})
		c.now("a", "refuses")
		c.wants("220 b", "a b")
		wait(servers.FirstRest)
		c.wants("220 b", "a b")
		c.now("b", "refuses")
		c.wants(unavailable, "b a")
		c.wants(unavailable, "b a")
	})
}

func TestOneSessionAtATimeTriesAServerAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, Route{Servers: []string{"a", "b"}})
		c.now("a", "refuses")
		c.call()
		wait(servers.FirstRest)
		c.now("a", "black hole")
		c.tried()
		first := make(chan string)
		go func() { first <- c.greets() }()
		synctest.Wait()
		c.wants("220 b", "b")
		c.wants("220 b", "b")
		if got := <-first; got != "220 b" {
			t.Errorf("greeted with %q after the server that did not", got)
		}
		c.wants("220 b", "b")
	})
}

func (c *cluster) greets() string {
	v := c.visit()
	v.Close()
	return v.greeting
}

func TestManyFailuresAtOnceAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, Route{Servers: []string{"a", "b"}})
		c.now("a", "black hole")
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { c.greets() })
		}
		all.Wait()
		wait(servers.FirstRest)
		c.now("a", "")
		c.wants("220 a", "a")
	})
}

// pipeAt is a client's connection from 192.0.2.7.
type pipeAt struct{ net.Conn }

func (pipeAt) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 40000} }
func (pipeAt) LocalAddr() net.Addr  { return nil }

func TestAClientWhoseAddressDoesNotGoWithAServerSaysNothingOfIt(t *testing.T) {
	ipv4 := netip.MustParseAddr("192.0.2.9")
	for _, server := range []string{"[::1]:25", "[::1]:smtp"} { // the second is looked up, as a name is
		for source, up := range map[Source]bool{{Client: true}: true, {Address: ipv4}: false} {
			c := newCluster(t, Route{Servers: []string{server}, Source: source})
			near, far := net.Pipe()
			go c.proxy.accepted(pipeAt{near}, c.route)
			if line, _ := bufio.NewReader(far).ReadString('\n'); line != unavailable+"\r\n" {
				t.Errorf("%s, %+v: greeted with %q", server, source, line)
			}
			far.Close()
			if got := c.proxy.Servers()[0]; got.Up != up {
				t.Errorf("%+v after a session from the other family, by %+v", got, source)
			}
		}
	}
	c := newCluster(t, Route{Servers: []string{"192.0.2.25:25"}, Source: Source{Client: true}})
	if got := c.greets(); got != unavailable || !c.proxy.Servers()[0].Up { // from no address at all
		t.Errorf("greeted with %q, then %+v", got, c.proxy.Servers())
	}
}

func TestTheRestOfAServerIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, Route{Servers: []string{"a", "b"}})
		c.now("a", "refuses")
		v := c.visit()
		want := []ServerState{{"in", "a", servers.State{Sessions: 0, Up: false, Healthy: true}}, {"in", "b", servers.State{Sessions: 1, Up: true, Healthy: true}}}
		if got := c.proxy.Servers(); !slices.Equal(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		v.Close()
		c.now("a", "")
		wait(servers.FirstRest)
		c.call()
		want = []ServerState{{"in", "a", servers.State{Sessions: 0, Up: true, Healthy: true}}, {"in", "b", servers.State{Sessions: 0, Up: true, Healthy: true}}}
		if got := c.proxy.Servers(); !slices.Equal(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

// held begins sessions, all at once, and gives how many each server has got, and
// their visitors.
func (c *cluster) held(n int) (got map[string]int, all []visitor) {
	got, all = map[string]int{}, make([]visitor, n)
	var begun sync.WaitGroup
	for i := range all {
		begun.Go(func() { all[i] = c.visit() })
	}
	begun.Wait()
	for _, v := range all {
		got[v.greeting]++
	}
	return got, all
}

func (c *cluster) wantHeld(n int, want map[string]int) []visitor {
	c.t.Helper()
	got, all := c.held(n)
	if !maps.Equal(got, want) {
		c.t.Errorf("sessions: %v, want %v", got, want)
	}
	return all
}

func depart(all []visitor) {
	for _, v := range all {
		v.Close()
	}
	synctest.Wait()
}

func TestSessionsAreSpreadEvenly(t *testing.T) {
	for balance, want := range map[servers.Balance]map[string]int{
		servers.First:         {"220 a": 100},
		servers.RoundRobin:    {"220 a": 25, "220 b": 25, "220 c": 25, "220 d": 25},
		servers.LeastSessions: {"220 a": 25, "220 b": 25, "220 c": 25, "220 d": 25},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, Route{Servers: []string{"a", "b", "c", "d"}, Balance: balance, Limits: Limits{SessionsPerAddress: 1000}})
			depart(c.wantHeld(100, want))
			if balance == servers.First {
				return
			}
			c.now("b", "refuses")
			c.call() // or one of the next two: the first finds out
			c.call()
			c.call()
			depart(c.wantHeld(99, map[string]int{"220 a": 33, "220 c": 33, "220 d": 33}))
		})
	}
}

func TestSessionsOneAfterTheOtherTakeTurns(t *testing.T) {
	for _, balance := range []servers.Balance{servers.RoundRobin, servers.LeastSessions} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, Route{Servers: []string{"a", "b", "c"}, Balance: balance})
			for range 2 {
				c.wants("220 a", "a")
				c.wants("220 b", "b")
				c.wants("220 c", "c")
			}
		})
	}
}

func TestLongSessionsCountForTheirServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, Route{Servers: []string{"a", "b"}, Balance: servers.LeastSessions, Limits: Limits{SessionsPerAddress: 1000}})
		long := c.wantHeld(20, map[string]int{"220 a": 10, "220 b": 10})
		var ofA []visitor
		for _, v := range long {
			if v.greeting == "220 a" {
				ofA = append(ofA, v)
			}
		}
		depart(ofA)
		c.wantHeld(10, map[string]int{"220 a": 10})
		c.wantHeld(2, map[string]int{"220 a": 1, "220 b": 1})
	})
}

func TestWhatIsKnownOfAServerOutlastsAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, Route{Servers: []string{"a", "b"}})
		c.now("a", "refuses")
		v := c.visit()
		c.reload(Route{Servers: []string{"c", "a", "b"}, Balance: servers.LeastSessions})
		want := []ServerState{{"in", "c", servers.State{Sessions: 0, Up: true, Healthy: true}}, {"in", "a", servers.State{Sessions: 0, Up: false, Healthy: true}}, {"in", "b", servers.State{Sessions: 1, Up: true, Healthy: true}}}
		if got := c.proxy.Servers(); !slices.Equal(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		v.Close()
		synctest.Wait()
		if got := c.proxy.Servers()[2].Sessions; got != 0 {
			t.Errorf("%d sessions after the one of before the reload has ended", got)
		}
		c.reload(Route{Servers: []string{"b"}})
		c.reload(Route{Servers: []string{"a", "b"}})
		c.wants("220 b", "a b") // a had left the route and is tried as if new
	})
}

func TestWhatIsOurFaultIsNotTheServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, Route{Servers: []string{"a", "b"}})
		c.now("a", "black hole")
		go c.greets()
		synctest.Wait()
		c.proxy.Close()
		if !c.proxy.Servers()[0].Up {
			t.Error("a server is left alone because we ended")
		}
	})
}
