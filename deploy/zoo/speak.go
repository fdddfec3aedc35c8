//go:build linux

package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"time"
)

// silence is how long a scripted client waits for a reply.
const silence = 6 * time.Second

// speak plays a dialogue, and returns what was said and heard. A step that is not
// answered is "S: (silent)", a connection that ended "S: (closed)".
func speak(d *Dialogue, addr string) ([]string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &speaker{conn: conn, r: bufio.NewReader(conn), patience: silence}
	defer func() { s.conn.Close() }()
	waiting := 0 // replies
	if d.Early {
		waiting++
	} else if !s.hear(1) {
		return s.lines, nil
	}
	text := ""
	for _, st := range d.steps {
		switch st.kind {
		case "say", "queue", "octets":
			text += st.text
			waiting += st.n
			if len(st.text) < 2000 {
				s.lines = append(s.lines, "C: "+strings.TrimSuffix(st.text, "\r\n"))
			}
			if st.kind != "say" {
				continue
			}
		case "expect":
			waiting += st.n
		}
		if !s.send(text) || !s.hear(waiting) {
			return s.lines, nil
		}
		text, waiting = "", 0
		switch st.kind {
		case "pause":
			time.Sleep(st.wait)
		case "half":
			s.conn.(interface{ CloseWrite() error }).CloseWrite()
		case "tls":
			if !s.tls() {
				return s.lines, nil
			}
		}
	}
	if s.send(text) {
		s.hear(waiting)
	}
	return s.lines, nil
}

// A speaker is a scripted client.
type speaker struct {
	conn     net.Conn
	r        *bufio.Reader
	lines    []string
	patience time.Duration
}

// send writes while it reads, so that a server that answers too early blocks
// nobody. It reports whether there is a connection still.
func (s *speaker) send(text string) bool {
	if text == "" {
		return true
	}
	if len(text) > 1<<16 {
		s.patience = 5 * silence // what is much takes longer
	}
	s.conn.SetWriteDeadline(time.Now().Add(s.patience))
	_, err := s.conn.Write([]byte(text))
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return s.hear(1) // perhaps it said why
	}
	return err == nil
}

// hear reads replies. It reports whether the dialogue goes on.
func (s *speaker) hear(replies int) bool {
	for range replies {
		for {
			s.conn.SetReadDeadline(time.Now().Add(s.patience))
			line, err := s.r.ReadString('\n')
			if line = strings.TrimRight(line, "\r\n"); line != "" {
				s.lines = append(s.lines, "S: "+line)
			}
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				s.lines = append(s.lines, "S: (silent)")
				return false
			}
			if err != nil {
				s.lines = append(s.lines, "S: (closed)")
				return false
			}
			if len(line) < 4 || line[3] != '-' {
				break
			}
		}
	}
	return true
}

// tls begins TLS; whose certificate it is does not matter here.
func (s *speaker) tls() bool {
	conn := tls.Client(s.conn, &tls.Config{InsecureSkipVerify: true})
	conn.SetDeadline(time.Now().Add(silence))
	if err := conn.Handshake(); err != nil {
		s.lines = append(s.lines, "S: (closed)")
		return false
	}
	s.conn, s.r = conn, bufio.NewReader(conn)
	return true
}
