//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A client says SMTP to addr, just as the test wants it.
type client struct {
	t    *testing.T
	conn io.Writer
	from *bufio.Reader
}

// dial connects, and hears the greeting.
func dial(t *testing.T, addr string) *client {
	t.Helper()
	c := connected(t, addr)
	c.hear("220")
	return c
}

// connected is a client that has heard nothing yet.
func connected(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	return &client{t, conn, bufio.NewReader(conn)}
}

// say sends lines in one write, and then wants one reply of class 2 or 3 to each.
func (c *client) say(lines ...string) {
	c.t.Helper()
	c.send([]byte(strings.Join(lines, "\r\n") + "\r\n"))
	for _, line := range lines {
		reply := c.reply()
		if reply[0] != '2' && reply[0] != '3' {
			c.t.Errorf("%s was answered %s", line, reply)
		}
	}
}

// send sends octets.
func (c *client) send(octets []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(octets); err != nil {
		c.t.Fatal(err)
	}
}

// hear wants a reply with a code.
func (c *client) hear(code string) {
	c.t.Helper()
	if reply := c.reply(); !strings.HasPrefix(reply, code) {
		c.t.Errorf("heard %q, not %s", reply, code)
	}
}

// reply reads a reply and returns its last line.
func (c *client) reply() string {
	c.t.Helper()
	for {
		line, err := c.from.ReadString('\n')
		if err != nil {
			c.t.Fatalf("instead of a reply: %q, %v", line, err)
		}
		if len(line) < 6 || line[3] != '-' {
			return strings.TrimSuffix(line, "\r\n") + " "
		}
	}
}

// A sink is a server that takes every message and forgets it.
func sink(t *testing.T) (addr string) {
	t.Helper()
	return serveEach(t, func(conn net.Conn) { swallow(conn) })
}

// swallow is a sink's session.
func swallow(conn io.ReadWriteCloser) {
	defer conn.Close()
	from := bufio.NewReaderSize(conn, 64<<10)
	fmt.Fprint(conn, "220 sink.example.com ESMTP\r\n")
	for {
		line, err := from.ReadSlice('\n')
		switch verb := strings.ToUpper(strings.TrimSpace(string(line))); {
		case err != nil:
			return
		case verb == "DATA":
			fmt.Fprint(conn, "354 go on\r\n")
			for err == nil && !bytes.Equal(line, []byte(".\r\n")) {
				line, err = from.ReadSlice('\n')
			}
			fmt.Fprint(conn, "250 taken\r\n")
		case verb == "QUIT":
			fmt.Fprint(conn, "221 bye\r\n")
			return
		default:
			fmt.Fprint(conn, "250 ok\r\n")
		}
	}
}

// A tap passes connections on to a server and keeps every octet.
type tap struct {
	addr string
	over chan stream // one for each connection in which the client spoke, when it has ended
}

// A stream is what was said in one connection.
type stream struct{ client, server []byte }

// newTap listens in front of the server at addr.
func newTap(t *testing.T, server string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	tp := &tap{l.Addr().String(), make(chan stream, 100)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go tp.pass(conn, server)
		}
	}()
	return tp
}

// pass carries one connection.
func (tp *tap) pass(client net.Conn, addr string) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	var said [2]bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(io.MultiWriter(&said[0], server), client)
		server.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(io.MultiWriter(&said[1], client), server)
	client.(*net.TCPConn).CloseWrite()
	<-done
	if said[0].Len() > 0 {
		tp.over <- stream{said[0].Bytes(), said[1].Bytes()}
	}
}

// wait returns the next connection that has ended.
func (tp *tap) wait(t *testing.T) stream {
	t.Helper()
	select {
	case s := <-tp.over:
		return s
	case <-time.After(time.Minute):
		t.Fatal("no session ended within a minute")
		return stream{}
	}
}
