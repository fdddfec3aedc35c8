//go:build linux

package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A ScriptedServer follows a Behaviour and keeps the messages that it accepts. For it, LF
// ends a line, with or without CR before it, as for Postfix 3.7 and Sendmail 8.17.
type ScriptedServer struct {
	Addr string

	behaviour *Behaviour
	listener  net.Listener
	done      sync.WaitGroup

	mu       sync.Mutex
	conns    map[net.Conn]bool
	messages []string
}

// startScripted starts a server on a port of 127.0.0.1 that the kernel chooses.
func startScripted(b *Behaviour) (*ScriptedServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &ScriptedServer{Addr: l.Addr().String(), behaviour: b, listener: l, conns: map[net.Conn]bool{}}
	s.done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.done.Go(func() { s.serve(conn) })
		}
	})
	return s, nil
}

// Take returns the messages accepted since the last call, with LF as line end and
// without doubled dots. A message that came in chunks (BDAT) is returned as "chunks\n".
func (s *ScriptedServer) Take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.messages
	s.messages = nil
	return m
}

// Close ends the server and all its connections.
func (s *ScriptedServer) Close() {
	s.listener.Close()
	s.HangUp()
	s.done.Wait()
}

// HangUp ends the connections that are still open. The server goes on listening.
func (s *ScriptedServer) HangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		conn.Close()
	}
}

// errHungUp ends a connection by the script's wish.
var errHungUp = errors.New("the script hangs up")

func (s *ScriptedServer) serve(conn net.Conn) {
	s.mu.Lock()
	s.conns[conn] = true
	s.mu.Unlock()
	defer func() {
		conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	c := &scriptedConn{server: s, conn: conn, r: bufio.NewReader(conn)}
	err := c.act(s.behaviour.events["connect"])
	for err == nil {
		var line string
		if line, err = c.line(); err == nil {
			err = c.command(line)
		}
	}
}

// A scriptedConn is one connection of a scripted server.
type scriptedConn struct {
	server     *ScriptedServer
	conn       net.Conn
	r          *bufio.Reader
	recipients int
}

// line reads a line without its end.
func (c *scriptedConn) line() (string, error) {
	line, err := c.r.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

func (c *scriptedConn) command(line string) error {
	acts := c.server.behaviour.on(line)
	verb := strings.ToUpper(line)
	switch {
	case strings.HasPrefix(verb, "MAIL"), strings.HasPrefix(verb, "RSET"):
		c.recipients = 0
	case strings.HasPrefix(verb, "RCPT") && said(acts, "2"):
		c.recipients++
	case strings.HasPrefix(verb, "DATA") && said(acts, "3"):
		if c.recipients == 0 {
			return c.act(c.server.behaviour.events["no recipients"])
		}
		if err := c.act(acts); err != nil {
			return err
		}
		return c.message()
	case strings.HasPrefix(verb, "BDAT") && said(acts, "2"):
		return c.chunk(line, acts)
	}
	return c.act(acts)
}

// said reports whether the first thing that acts say begins with a digit.
func said(acts []act, digit string) bool {
	for _, a := range acts {
		if a.kind == "say" {
			return strings.HasPrefix(a.text, digit)
		}
	}
	return false
}

// message reads a message and answers it.
func (c *scriptedConn) message() error {
	var text strings.Builder
	for first := true; ; first = false {
		line, err := c.line()
		if err != nil {
			return err
		}
		if first {
			if err := c.act(c.server.behaviour.events["text"]); err != nil {
				return err
			}
		}
		if line == "." {
			break
		}
		text.WriteString(strings.TrimPrefix(line, ".") + "\n")
	}
	return c.accept(text.String())
}

func (c *scriptedConn) accept(text string) error {
	acts := c.server.behaviour.events["."]
	if said(acts, "2") {
		c.server.mu.Lock()
		c.server.messages = append(c.server.messages, text)
		c.server.mu.Unlock()
	}
	return c.act(acts)
}

// chunk reads a chunk. Its octets are not kept: all chunks together are a message.
func (c *scriptedConn) chunk(line string, acts []act) error {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return errHungUp
	}
	n, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, c.r, n); err != nil {
		return err
	}
	if len(fields) > 2 {
		return c.accept("chunks\n")
	}
	return c.act(acts)
}

// act does what a script says.
func (c *scriptedConn) act(acts []act) error {
	said, split := "", false
	flush := func() error {
		text := said
		said = ""
		if !split {
			_, err := c.conn.Write([]byte(text))
			return err
		}
		for i := range len(text) {
			if _, err := c.conn.Write([]byte{text[i]}); err != nil {
				return err
			}
			time.Sleep(time.Millisecond) // the octets are to be segments
		}
		return nil
	}
	for _, a := range acts {
		if a.kind == "say" {
			said += a.text
			continue
		}
		if a.kind == "split" {
			split = true
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		switch a.kind {
		case "pause":
			time.Sleep(a.wait)
		case "read":
			if _, err := c.line(); err != nil {
				return err
			}
		case "discard":
			c.r.Discard(c.r.Buffered())
		case "close":
			return errHungUp
		case "hang":
			io.Copy(io.Discard, c.r)
			return errHungUp
		}
	}
	return flush()
}
