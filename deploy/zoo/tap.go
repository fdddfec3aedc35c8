//go:build linux

package main

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"time"
)

// A Tap forwards connections from clients to an address. It records the lines that the
// clients send and receive, in the order in which they pass.
type Tap struct {
	Addr string

	to       string
	listener net.Listener
	done     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	lines []string
	sent  bytes.Buffer  // all octets of the clients
	left  chan struct{} // has a token when a connection has ended
}

// startTap passes connections on to an address.
func startTap(to string) (*Tap, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &Tap{Addr: l.Addr().String(), to: to, listener: l, conns: map[net.Conn]bool{}, left: make(chan struct{}, 1)}
	t.done.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			t.done.Go(func() { t.pass(client) })
		}
	})
	return t, nil
}

// Close ends the tap and its connections, and returns the lines recorded since the last
// Reset.
func (t *Tap) Close() []string {
	t.listener.Close()
	t.hangUp()
	t.done.Wait()
	return t.lines
}

func (t *Tap) hangUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for conn := range t.conns {
		conn.Close()
	}
}

// Reset ends the connections that are still open, and drops all that was recorded. The
// tap goes on listening.
func (t *Tap) Reset() {
	t.hangUp()
	t.idle(time.Minute)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = nil
	t.sent.Reset()
}

// Sent waits until the connections have ended, at most for patience, and returns all
// octets that the clients have sent since the last Reset.
func (t *Tap) Sent(patience time.Duration) []byte {
	t.idle(patience)
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.sent.Bytes())
}

// idle waits until there is no connection, but no longer than patience.
func (t *Tap) idle(patience time.Duration) {
	late := time.After(patience)
	for {
		t.mu.Lock()
		n := len(t.conns)
		t.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-t.left:
		case <-late:
			return
		}
	}
}

func (t *Tap) pass(client net.Conn) {
	server, err := net.Dial("tcp", t.to)
	if err != nil {
		client.Close()
		return
	}
	t.mu.Lock()
	t.conns[client], t.conns[server] = true, true
	t.lines = append(t.lines, "~ connection")
	t.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { t.copy(server, client, "C: ") })
	both.Go(func() { t.copy(client, server, "S: ") })
	both.Wait()
	client.Close()
	server.Close()
	t.mu.Lock()
	delete(t.conns, client)
	delete(t.conns, server)
	t.mu.Unlock()
	select {
	case t.left <- struct{}{}:
	default:
	}
}

// copy passes one direction on until it ends.
func (t *Tap) copy(to, from net.Conn, margin string) {
	var rest string
	octets := make([]byte, 64<<10)
	for {
		n, err := from.Read(octets)
		if n > 0 {
			t.mu.Lock()
			if margin == "C: " {
				t.sent.Write(octets[:n])
			}
			rest += string(octets[:n])
			for {
				line, after, ok := strings.Cut(rest, "\n")
				if !ok {
					break
				}
				t.lines, rest = append(t.lines, margin+strings.TrimSuffix(line, "\r")), after
			}
			t.mu.Unlock()
			if _, err := to.Write(octets[:n]); err != nil {
				from.(*net.TCPConn).CloseRead()
				return
			}
		}
		if err != nil {
			break
		}
	}
	t.mu.Lock()
	if rest != "" {
		t.lines = append(t.lines, margin+rest)
	}
	t.lines = append(t.lines, margin+"(closed)")
	t.mu.Unlock()
	to.(*net.TCPConn).CloseWrite()
}
