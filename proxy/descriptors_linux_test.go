package proxy_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
)

// A proxy with few descriptors runs in a process of its own: the tests' binary
// once more, which does as it is told by the lines of its standard input. What
// it writes are the records of its log, and one of its own for each order.
const fewDescriptors = "SMTPSHIM_TEST_FEW_DESCRIPTORS"

// spare is how many descriptors such a proxy may open, about.
const spare = 60

// TestAProxyWithFewDescriptors is no test but that process.
func TestAProxyWithFewDescriptors(t *testing.T) {
	server := os.Getenv(fewDescriptors)
	if server == "" {
		t.Skip("it is the other process of TestWhoeverFindsNoDescriptorWaitsOrComesAgain")
	}
	limit := uint64(descriptors(t) + spare)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	p := &proxy.Proxy{Logger: log}
	defer p.Close()
	r := &proxy.Route{Name: "test", Listen: []string{"127.0.0.1:0"}, Servers: []string{server}}
	if err := p.Apply([]*proxy.Route{r}); err != nil {
		t.Fatal(err)
	}
	log.Info(p.Addr(r.Listen[0]).String())
	var taken []*os.File
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); log.Info(orders.Text()) {
		switch orders.Text() {
		case "take one back":
			taken[0].Close()
			taken = taken[1:]
		case "use up":
			for f, err := os.Open(os.DevNull); err == nil; f, err = os.Open(os.DevNull) {
				taken = append(taken, f)
			}
		}
	}
}

// A confined proxy is that process as the test sees it.
type confined struct {
	orders  io.WriteCloser
	records chan logRecord
	address string
}

// A logRecord is a line of its log, or its answer to an order.
type logRecord struct {
	Time    time.Time
	Msg     string
	Outcome string
	AgainIn time.Duration `json:"again_in"`
}

func startConfined(t *testing.T, server string) *confined {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestAProxyWithFewDescriptors$")
	cmd.Env = append(os.Environ(), fewDescriptors+"="+server)
	cmd.Stderr = os.Stderr
	orders, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &confined{orders: orders, records: make(chan logRecord, 1000)}
	go func() {
		defer close(c.records)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var r logRecord
			if json.Unmarshal(lines.Bytes(), &r) == nil {
				c.records <- r
			}
		}
	}()
	t.Cleanup(func() {
		orders.Close()
		for range c.records {
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the other process: %v", err)
		}
	})
	c.address = c.await(t, func(r logRecord) bool { return strings.HasPrefix(r.Msg, "127.0.0.1:") }).Msg
	return c
}

// await is the next record of the log that is such a one.
func (c *confined) await(t *testing.T, such func(logRecord) bool) logRecord {
	t.Helper()
	for late := time.After(patience); ; {
		select {
		case r, ok := <-c.records:
			if !ok {
				t.Fatal("the other process has ended")
			}
			if such(r) {
				return r
			}
		case <-late:
			t.Fatal("it is not in the log")
		}
	}
}

func (c *confined) order(t *testing.T, order string) {
	t.Helper()
	fmt.Fprintln(c.orders, order)
	c.await(t, func(r logRecord) bool { return r.Msg == order })
}

func (c *confined) dial() (net.Conn, error) { return net.Dial("tcp", c.address) }

// unread is a connection some of which has been read and is there again.
type unread struct {
	net.Conn
	r io.Reader
}

func (u unread) Read(b []byte) (int, error) { return u.r.Read(b) }

func failedAccept(r logRecord) bool { return r.Msg == "accepting a connection" }

func TestWhoeverFindsNoDescriptorWaitsOrComesAgain(t *testing.T) {
	server := startServer(t, legacyServer(t, "modern"))
	c := startConfined(t, server.Addr())
	idle, busy := admitted(t, c.dial), admitted(t, c.dial)
	c.order(t, "use up")
	c.order(t, "take one back")

	// There is one for the client, and none for the server.
	act(t, c.dial, plays(smtptest.Expect("421 4.3.2 server not available"), smtptest.ExpectEnd()))
	c.await(t, func(r logRecord) bool { return r.Outcome == "server-unreachable" })

	// There is none for the client.
	c.order(t, "use up")
	late, err := c.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	for before := c.await(t, failedAccept); before.AgainIn < 300*time.Millisecond; {
		next := c.await(t, failedAccept)
		if apart := next.Time.Sub(before.Time); apart < before.AgainIn || next.AgainIn <= before.AgainIn {
			t.Fatalf("%v after it was said that it would be in %v, and then in %v", apart, before.AgainIn, next.AgainIn)
		}
		before = next
	}

	// Sessions under way have what they need, and when one ends there is room.
	again := unread{busy, io.MultiReader(strings.NewReader("220 "), busy)}
	wantDelivered(t, legacyClient(t, "modern").Deliver(func() (net.Conn, error) { return again, nil }, message))
	idle.Close()
	late.SetDeadline(time.Now().Add(patience))
	if err := smtptest.Play(late, patience, smtptest.ExpectOctets("220 ")); err != nil {
		t.Error(err)
	}
	late.Close()
	wantMessages(t, server, 1)
}
