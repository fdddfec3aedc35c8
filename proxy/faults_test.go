package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

var update = flag.Bool("update", false, "write testdata/faults.txt anew")

const faultsHead = `# What comes of what goes wrong: who does what in place of what is due in which phase
# | what the client hears | what the server hears | how the session ends | failures and messages counted
`

// TestTheFaultTable has each side do each thing wrong in each phase, and compares
// what comes of it with testdata/faults.txt: one row for each cell. What takes
// time happens in memory, where time stands still until everyone waits; all else
// over TCP.
func TestTheFaultTable(t *testing.T) {
	before := openDescriptors(t)
	var mu sync.Mutex
	rows := map[[3]int]string{}
	t.Run("cells", func(t *testing.T) {
		eachCell(t, func(at [3]int, c *cell) {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				var row string
				if c.timed {
					synctest.Test(t, func(t *testing.T) { row = c.run(t, inMemory{}) })
				} else {
					row = c.run(t, overTCP{})
				}
				mu.Lock()
				defer mu.Unlock()
				rows[at] = row
			})
		})
	})
	got := faultsHead
	for _, at := range slices.SortedFunc(maps.Keys(rows), func(a, b [3]int) int { return slices.Compare(a[:], b[:]) }) {
		got += rows[at] + "\n"
	}
	compareTable(t, "testdata/faults.txt", got)
	for late := time.Now().Add(testPatience); openDescriptors(t) > before; {
		if time.Now().After(late) {
			t.Fatalf("%d descriptors are open, and there were %d", openDescriptors(t), before)
		}
	}
}

// eachCell calls f with each cell of the table, and its place there.
func eachCell(t *testing.T, f func(at [3]int, c *cell)) {
	t.Helper()
	certificate, _, err := smtptest.Certificate("mail.example.com")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	for i, side := range []string{"server", "client"} {
		for j, m := range misdeeds {
			for k, name := range phases {
				if impossible(side, m.name, name) || m.server && side == "client" {
					continue
				}
				c := &cell{name: fmt.Sprintf("%s: %s, %s", side, m.name, name), timed: m.timed, fails: side, phase: name, do: m.do,
					route: &Route{Name: "test"}, told: &faultCounts{n: map[string]int{}}}
				c.setUp(config)
				f([3]int{i, j, k}, c)
			}
		}
	}
}

func compareTable(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	table, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want, have := strings.Split(string(table), "\n"), strings.Split(got, "\n")
	for _, row := range want {
		if !slices.Contains(have, row) {
			t.Errorf("want %s", row)
		}
	}
	for _, row := range have {
		if !slices.Contains(want, row) {
			t.Errorf("got  %s", row)
		}
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc to count descriptors in: ", err)
	}
	return len(open)
}

// phases are the places in a session where something may go wrong.
var phases = []string{"connect", "greeting", "EHLO", "STARTTLS", "handshake", "AUTH", "MAIL", "RCPT", "DATA", "message",
	"after the dot", "between messages", "QUIT", "opaque"}

// impossible are the cells that there cannot be.
func impossible(side, misdeed, phase string) bool {
	switch phase {
	case "connect": // whoever has connected and says something is in the next phase
		return side == "client" || misdeed != "reset" && misdeed != "stall"
	case "opaque": // what is said is nobody's business, however long it is
		return strings.HasPrefix(misdeed, "endless")
	case "after the dot", "QUIT": // it is not for the client to say something
		return misdeed == "one byte a second" && side == "client"
	case "between messages": // nobody is to say anything
		return misdeed == "one byte a second"
	case "greeting":
		return misdeed == "one byte a second" && side == "client"
	}
	return false
}

// A cell is one row of the table.
type cell struct {
	name, fails, phase string
	timed              bool
	do                 misdeed
	route              *Route
	told               *faultCounts
	stage              stage

	server, client []smtptest.Step // up to the misdeed
	right          string          // what is due in its place
	rest           string          // what the other side says then, when the harm is done

	arrived, harmed chan struct{} // the other side is where it has to be; the harm is done
	harm            func()
	left            chan struct{} // the side that fails has seen the end of its connection
}

// setUp makes the scene of a cell. A server goes wrong when it has heard the
// command, a client before it says it.
func (c *cell) setUp(config *tls.Config) {
	commands := [][2]string{{"EHLO", "EHLO c.example.com\r\n"}, {"STARTTLS", "STARTTLS\r\n"}, {"AUTH", "AUTH PLAIN\r\n"},
		{"MAIL", "MAIL FROM:<a@example.com>\r\n"}, {"RCPT", "RCPT TO:<b@example.net>\r\n"}, {"DATA", "DATA\r\n"},
		{"message", "text\r\n.\r\n"}, {"QUIT", "QUIT\r\n"}}
	answers := map[string]string{"EHLO": "250-mail.example.com\r\n250 STARTTLS\r\n", "STARTTLS": "220 go\r\n", "AUTH": "334 \r\n",
		"MAIL": "250 mail\r\n", "RCPT": "250 rcpt\r\n", "DATA": "354 go on\r\n", "message": "250 taken\r\n", "QUIT": "221 bye\r\n"}
	const greeting = "220 mail.example.com ESMTP\r\n"
	say, hear := smtptest.Send, smtptest.ExpectOctets
	goal := map[string]string{"handshake": "STARTTLS", "opaque": "STARTTLS", "after the dot": "message", "between messages": "QUIT"}[c.phase]
	if goal == "" {
		goal = c.phase
	}
	aside := map[string]bool{"STARTTLS": goal != "STARTTLS", "AUTH": goal != "AUTH"} // is not said on the way
	c.route.Observer = c.told
	if c.phase == "connect" {
		return
	}
	if c.phase == "greeting" && c.fails == "server" {
		c.right = greeting
		return
	}
	c.server, c.client = append(c.server, say(greeting)), append(c.client, hear(greeting))
	if c.phase == "greeting" {
		return
	}
	ourTLS := c.phase == "STARTTLS" || c.phase == "handshake"
	if ourTLS && c.fails == "server" {
		c.route.ServerTLS = ServerTLS{Mode: rewrite.ServerTLSRequire, Dialer: DialWith(&tls.Config{InsecureSkipVerify: true})}
	} else if ourTLS {
		c.route.ClientTLS = ClientTLS{rewrite.ClientTLSOffer, AcceptWith(config)}
	}
	for _, command := range commands {
		verb, said := command[0], command[1]
		if aside[verb] {
			continue
		}
		if verb == goal {
			c.arrive(said, answers[verb])
			return
		}
		c.server, c.client = append(c.server, hear(said), say(answers[verb])), append(c.client, say(said))
		if !ourTLS || c.fails == "client" {
			c.client = append(c.client, hear(answers[verb]))
		}
	}
}

// arrive is the last command before the misdeed.
func (c *cell) arrive(said, answer string) {
	say, hear := smtptest.Send, smtptest.ExpectOctets
	ofServer := c.fails == "server"
	switch {
	case c.phase == "handshake" && ofServer:
		c.server = append(c.server, hear(said), say(answer), hear("\x16\x03\x01"))
		c.right = "\x16\x03\x03" + strings.Repeat("x", 200)
	case c.phase == "handshake":
		c.client = append(c.client, say(said), hear("220 2.0.0 ready to start TLS\r\n"))
		c.right = "\x16\x03\x01\x02\x00" + strings.Repeat("x", 200)
	case c.phase == "STARTTLS" && ofServer: // we say it
		c.server = append(c.server, hear(said))
		c.right = answer
	case c.phase == "opaque":
		c.server, c.client = append(c.server, hear(said), say(answer)), append(c.client, say(said), hear(answer))
		c.right = "opaque octets"
	case c.phase == "between messages":
	case c.phase == "message" && ofServer:
		c.server, c.client = append(c.server, hear("text\r\n")), append(c.client, say("text\r\n"))
		c.rest = strings.Repeat("more\r\n", 50_000) + ".\r\n"
		if c.timed { // more than sockets buffer
			c.rest = strings.Repeat(c.rest[:len(c.rest)-3], 60) + ".\r\n"
		}
		c.right = answer
	case c.phase == "message":
		c.client = append(c.client, say("text\r\n"))
		c.right = "more\r\n.\r\n"
	case c.phase == "AUTH" && !ofServer:
		c.server, c.client = append(c.server, hear(said), say(answer)), append(c.client, say(said), hear(answer))
		c.right = "AGEAYg==\r\n"
	case ofServer:
		c.server, c.client = append(c.server, hear(said)), append(c.client, say(said))
		c.right = answer
	case c.phase == "after the dot", c.phase == "QUIT":
		c.server, c.client = append(c.server, hear(said)), append(c.client, say(said))
		c.rest = answer
	default:
		c.right = said
	}
}

// run plays the cell, and gives its row.
func (c *cell) run(t *testing.T, on stage) string {
	p := &Proxy{Logger: slog.New(slog.DiscardHandler)}
	c.stage = on
	c.harmed, c.arrived, c.left, c.told.over = make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	c.harm = sync.OnceFunc(func() { close(c.harmed) })
	c.route.Servers, c.route.Listen = []string{"192.0.2.1:25"}, []string{"127.0.0.1:0"}
	if c.timed {
		c.route.Timeouts = minutes
	}
	seen, served := "-", make(chan struct{})
	client := on.meet(t, c, p, func(conn net.Conn) {
		defer close(served)
		seen = c.play(conn, "server")
	})
	heard := c.play(client, "client")
	client.Close()
	if c.phase != "connect" && !on.await(served) {
		t.Error("the server does not end")
		seen = ""
	}
	if !on.await(c.told.over) {
		t.Error("the session does not end")
	}
	on.end()
	p.Close()
	counted := c.told.String(c.timed)
	if c.phase == "greeting" && c.do != nil { // a reset may come before the connection is made, for us
		counted = strings.Replace(counted, "connect 1", "greeting 1", 1)
	}
	return fmt.Sprintf("%-40s | %s | %s | %s", c.name, heard, seen, counted)
}

// minutes are timeouts of more than a minute, longer than a misdeed that goes on in
// time, that cannot be taken for one another.
var minutes = Timeouts{
	Connect: 61 * time.Second, Greeting: 62 * time.Second, TLS: 63 * time.Second, Header: 64 * time.Second,
	Command: 65 * time.Second, Reply: 66 * time.Second, Data: 67 * time.Second, DataEnd: 68 * time.Second,
}

// play is one side's part: what comes before the misdeed, the misdeed or the
// rest of what it says, and what it hears then.
func (c *cell) play(conn net.Conn, side string) string {
	steps, patience := c.client, c.stage.patience()
	if side == "server" {
		steps = c.server
	}
	if c.timed && side == "client" { // it is idle before each command
		pause := smtptest.Pause(func() { sleep(conn, time.Second) })
		for i := len(steps) - 1; i > 0; i-- {
			steps = slices.Insert(steps, i, pause)
		}
	}
	err := smtptest.Play(conn, patience, steps...)
	if err != nil {
		c.harm()
		return err.Error()
	}
	switch {
	case side == c.fails && c.phase != "connect":
		c.stage.await(c.arrived)
		defer close(c.left)
		return after(c.do(conn, c.right, c.harm), side)
	case c.phase != "connect":
		close(c.arrived)
		if c.rest != "" {
			c.stage.await(c.harmed)
			if c.phase == "message" && !c.timed { // the proxy notices while the client is silent
				c.stage.await(c.left)
			}
			conn.Write([]byte(c.rest))
		}
	}
	return c.hearOut(conn, side, patience)
}

// after is what a side that went wrong has heard from then on.
func after(heard, side string) string {
	switch {
	case heard == "":
		return "-"
	case side == "server" && strings.HasSuffix(heard, "\r\n.\r\n"):
		return "the end of the message"
	case side == "server" && len(heard) > 1000:
		return "more of the message"
	case strings.HasPrefix(heard, "\x15\x03"):
		return "a TLS alert"
	}
	return strings.ReplaceAll(strings.TrimSuffix(heard, "\r\n"), "\r\n", " / ")
}

// hearOut is all that a side hears until the other one ends, as it answers it.
func (c *cell) hearOut(conn net.Conn, side string, patience time.Duration) string {
	defer conn.Close()
	var lines []string
	r := bufio.NewReader(conn)
	inText := c.phase == "message"
	for {
		conn.SetReadDeadline(time.Now().Add(patience))
		line, err := r.ReadBytes('\n')
		if len(line) > 0 {
			text := string(bytes.TrimSuffix(line, []byte("\r\n")))
			if text == string(line) {
				text = fmt.Sprintf("%.40q", line)
			}
			lines = append(lines, text)
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			lines = append(lines, "silence")
		case err != nil:
		case side == "client":
			if reply := map[bool]string{true: string(line[:3])}[len(line) > 3 && line[3] == ' ']; reply == "354" {
				conn.Write([]byte(".\r\n"))
			} else if reply != "" && reply != "221" && reply != "421" {
				conn.Write([]byte("QUIT\r\n"))
			}
			continue
		case inText && string(line) != ".\r\n":
			continue
		case string(line) == "DATA\r\n":
			inText = true
			conn.Write([]byte("354 go on\r\n"))
			continue
		default:
			inText = false
			conn.Write([]byte("250 ok\r\n"))
			continue
		}
		return strings.Join(append(lines, "end"), " / ")
	}
}
