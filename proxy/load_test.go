package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
)

// dialFrom connects from an address of loopback.
func dialFrom(t *testing.T, from string, to net.Addr) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(context.Background(), "tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// resident is the memory of this process, in octets, once what is garbage has
// gone back.
func resident(t *testing.T) int {
	t.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc to read memory in: ", err)
	}
	var size, pages int
	fmt.Sscan(string(status), &size, &pages)
	return pages * os.Getpagesize()
}

// served is how long another client waits for its greeting and three replies.
func served(t *testing.T, to net.Addr) time.Duration {
	t.Helper()
	began := time.Now()
	conn := dialFrom(t, "127.0.0.1", to)
	conn.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(conn)
	for _, say := range []string{"", "EHLO client.example.com\r\n", "NOOP\r\n", "QUIT\r\n"} {
		io.WriteString(conn, say)
		for {
			line, err := r.ReadString('\n')
			if err != nil || line[0] != '2' {
				t.Fatalf("after %q: %q, %v", say, line, err)
			}
			if line[3] == ' ' {
				break
			}
		}
	}
	conn.Close()
	return time.Since(began)
}

const soon = 2 * time.Second // on a machine that does much else

func loadOf(t *testing.T, many, few int) int {
	if os.Getenv("SMTPSHIM_SOAK") == "" {
		return few
	}
	return many
}

// TestOneAddressCannotKeepOthersOut has very many connections from one address
// that say nothing.
func TestOneAddressCannotKeepOthersOut(t *testing.T) {
	n := loadOf(t, 10_000, 500)
	server := startServer(t, legacyServer(t, "modern"))
	r := &proxy.Route{Name: "test", Listen: []string{"127.0.0.1:0"}, Servers: []string{server.Addr()}, Observer: newCounts(),
		Limits: proxy.Limits{SessionsPerAddress: 50}} // as it is for all that is not loopback
	p := quiet()
	if err := p.Apply([]*proxy.Route{r}); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	to := p.Addr(r.Listen[0])
	began := resident(t)
	for range n {
		dialFrom(t, "127.0.0.9", to)
	}
	counts := r.Observer.(*counts)
	eventually(t, func() bool { return counts.get("refused sessions-per-address") == n-50 })
	t.Logf("%d connections from one address: %d served, %d KiB more, another client was served in %v", n, counts.get("connected"),
		(resident(t)-began)>>10, served(t, to))
	if took := served(t, to); took > soon {
		t.Errorf("another client was served in %v", took)
	}
}

// TestHalfOpenClientsCostLittle has clients from many addresses that owe a PROXY
// header, and whose sessions have therefore not begun.
func TestHalfOpenClientsCostLittle(t *testing.T) {
	if smtptest.RaceDetected() {
		t.Skip("the race detector keeps a record of memory in memory")
	}
	const most = 12 << 10 // of memory, for each
	n := loadOf(t, 8_000, 500)
	server := startServer(t, legacyServer(t, "modern"))
	trusted := &proxy.Route{Name: "trusted", Listen: []string{"127.0.0.1:0"}, Servers: []string{server.Addr()}, Observer: newCounts(),
		Limits: proxy.Limits{Sessions: n}, ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Timeouts: proxy.Timeouts{Header: time.Minute}}
	other := &proxy.Route{Name: "other", Listen: []string{"127.0.0.2:0"}, Servers: []string{server.Addr()}}
	p := quiet()
	if err := p.Apply([]*proxy.Route{trusted, other}); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	to := p.Addr(trusted.Listen[0])
	began, idle := resident(t), runtime.NumGoroutine()
	for i := range n {
		dialFrom(t, fmt.Sprintf("127.0.%d.%d", 1+i/250, 1+i%250), to)
	}
	eventually(t, func() bool { return runtime.NumGoroutine() >= idle+n })
	each := (resident(t) - began) / n
	t.Logf("%d half-open clients: %d octets each; another client was served in %v", n, each, served(t, p.Addr(other.Listen[0])))
	if each > most {
		t.Errorf("%d octets for each half-open client", each)
	}
}

// TestSlowClientsCostLittle has clients that send one octet a second: commands,
// messages, and the octets of a message that have to be kept until more comes.
func TestSlowClientsCostLittle(t *testing.T) {
	const most = 64 << 10 // of memory for each, with both its peers in this process
	n := loadOf(t, 2_000, 200)
	rounds := loadOf(t, 10, 2)
	address := simpleServer(t)
	r := &proxy.Route{Name: "test", Listen: []string{"127.0.0.1:0"}, Servers: []string{address}, Limits: proxy.Limits{Sessions: n + 1}}
	p := quiet()
	if err := p.Apply([]*proxy.Route{r}); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	to := p.Addr(r.Listen[0])
	began := resident(t)
	var slow []net.Conn
	talk := steps(smtptest.Expect(greeting), smtptest.Say("EHLO c"), smtptest.Expect("250 ok"))
	drips := []string{"NOOP but slowly so that it takes its time\r\n", strings.Repeat("slow text\r\n", 10), strings.Repeat("\r", 100), strings.Repeat("\r\n.", 30)}
	for i := range n {
		conn := dialFrom(t, fmt.Sprintf("127.0.%d.%d", 1+i/250, 1+i%250), to)
		before := talk
		if i%len(drips) > 0 {
			before = append(talk[:len(talk):len(talk)], smtptest.Say("DATA"), smtptest.Expect("354 go ahead"))
		}
		if err := smtptest.Play(conn, patience, before...); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, conn)
	}
	var worst time.Duration
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for round := range rounds {
		var all sync.WaitGroup
		for part := range 4 {
			all.Go(func() {
				for i := part; i < n; i += 4 {
					drip := drips[i%len(drips)]
					slow[i].Write([]byte{drip[round%len(drip)]})
				}
			})
		}
		all.Wait()
		worst = max(worst, served(t, to))
		<-tick.C
	}
	each := (resident(t) - began) / n
	t.Logf("%d clients at an octet a second: %d octets each; another client was served in %v at the slowest", n, each, worst)
	if each > most && !smtptest.RaceDetected() { // which keeps a record of memory in memory
		t.Errorf("%d octets for each slow client", each)
	}
	if worst > soon {
		t.Errorf("another client was served in %v", worst)
	}
}

// TestMessagesThatNobodyTakesCostABuffer has clients send text that is to be
// mended and folded to a server that has stopped reading.
func TestMessagesThatNobodyTakesCostABuffer(t *testing.T) {
	if smtptest.RaceDetected() {
		t.Skip("the race detector keeps a record of memory in memory")
	}
	const most = 516 << 10 // of memory, for each: a read, what is mended of it, and what is folded of that
	n := loadOf(t, 1_000, 40)
	l := listen(t)
	serveEach(l, func(conn net.Conn) {
		conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		smtptest.Play(conn, patience, smtptest.Say(greeting), smtptest.Expect("DATA"), smtptest.Say("354 go ahead"),
			smtptest.Pause(func() { <-t.Context().Done() }), smtptest.Close())
	})
	r := &proxy.Route{Name: "test", Listen: []string{"127.0.0.1:0"}, Servers: []string{l.Addr().String()},
		Limits: proxy.Limits{Sessions: n}, Rules: withMode(t, "long-lines", "fold")}
	p := quiet()
	if err := p.Apply([]*proxy.Route{r}); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	began := resident(t)
	text := []byte(strings.Repeat(strings.Repeat("x", 2000)+"\n.\n", 100))
	for range n {
		conn := dialFrom(t, "127.0.0.1", p.Addr(r.Listen[0]))
		conn.(*net.TCPConn).SetWriteBuffer(4 << 10)
		if err := smtptest.Play(conn, patience, smtptest.Expect(greeting), smtptest.Say("DATA"), smtptest.Expect("354 go ahead")); err != nil {
			t.Fatal(err)
		}
		for err := error(nil); err == nil; { // until it moves no more
			conn.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			_, err = conn.Write(text)
		}
	}
	each := (resident(t) - began) / n
	t.Logf("%d messages that stand still: %d octets each", n, each)
	if each > most {
		t.Errorf("%d octets for each message", each)
	}
}
