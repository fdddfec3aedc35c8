package proxy_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

// errBroken is what the peer that breaks a connection gets.
var errBroken = errors.New("broken as planned")

// A damage breaks one side's connection at an octet that it writes or reads.
type damage struct {
	kind  string
	write bool
	at    int
	seed  uint64
}

func (f *damage) over(conn net.Conn) net.Conn {
	if f == nil || f.kind == "" {
		return conn
	}
	return &faulty{Conn: conn, damage: *f, random: rand.New(rand.NewPCG(f.seed, 0))}
}

// faulty is a connection with damage to come.
type faulty struct {
	net.Conn
	damage
	random *rand.Rand
	broken bool
}

func (f *faulty) Write(b []byte) (int, error) {
	switch {
	case f.broken:
		return 0, errBroken
	case f.kind == "short":
		return len(b), sendSplit(f.Conn, f.random, b, max(1, len(b)/3))
	case !f.write:
		return f.Conn.Write(b)
	case f.at >= len(b):
		f.at -= len(b)
		return f.Conn.Write(b)
	}
	before, behind := b[:f.at], b[f.at:]
	f.write = false
	if f.kind == "garbage" { // in one write: what comes late cannot be told from an answer
		_, err := f.Conn.Write(bytes.Join([][]byte{before, junk(f.random), behind}, nil))
		return len(b), err
	}
	f.Conn.Write(before)
	return f.at, f.trip()
}

func (f *faulty) Read(b []byte) (int, error) {
	if f.write || f.broken || f.kind == "short" || f.kind == "garbage" {
		return f.Conn.Read(b)
	}
	n, err := f.Conn.Read(b[:min(len(b), max(f.at, 1))])
	if f.at -= n; f.at <= 0 && err == nil {
		return n, f.trip()
	}
	return n, err
}

// trip breaks the connection.
func (f *faulty) trip() error {
	f.broken = true
	tcp := f.Conn.(*net.TCPConn)
	switch f.kind {
	case "reset":
		tcp.SetLinger(0)
		tcp.Close()
	case "close":
		tcp.Close()
	case "half close":
		tcp.CloseWrite()
	}
	if f.kind == "stall" || f.kind == "half close" {
		tcp.SetReadDeadline(time.Now().Add(patience))
		io.Copy(io.Discard, tcp)
	}
	return errBroken
}

// isNext reports whether garbage stands before what is written next.
func (f *faulty) isNext() bool { return f.kind == "garbage" && f.write && f.at == 0 }

// says reports whether the damage is a reply with this code: where it stands before the
// server's reply to a message it is the answer, with and without a proxy.
func (f *damage) says(code string) bool {
	return f != nil && f.kind == "garbage" && bytes.HasPrefix(junk(rand.New(rand.NewPCG(f.seed, 0))), []byte(code+" "))
}

// junk is what is no reply and no command, or one that nobody asked for.
func junk(random *rand.Rand) []byte {
	all := []string{"\r\n", "\x00", "\n", "\r", "250-", "250 extra\r\n", "354 extra\r\n", "550 extra\r\n", "HTTP/1.1 400 Bad Request\r\n", "\r\n.\r\n",
		".", "\x15\x03\x01\x00\x02\x02\x28", strings.Repeat("x", 5000), "RSET\r\n", "250 extra\r\n250 extra\r\n"}
	return []byte(all[random.IntN(len(all))])
}
