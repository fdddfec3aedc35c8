package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"smtpshim/proxy"
)

// chunkServer is a server with CHUNKING that reads so much of a chunk, gives what
// it has read, and says what it has to say of it. It does not read before it is
// ready; nil: it always is.
func chunkServer(t *testing.T, most int, answer string, ready <-chan struct{}) (address string, got <-chan []byte) {
	t.Helper()
	l := listen(t)
	read := make(chan []byte, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		r := bufio.NewReader(conn)
		io.WriteString(conn, "220 mail.example.com ESMTP\r\n")
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			switch {
			case strings.HasPrefix(line, "EHLO"):
				io.WriteString(conn, "250-mail.example.com\r\n250 CHUNKING\r\n")
			case strings.HasPrefix(line, "BDAT"):
				n := 0
				fmt.Sscanf(line, "BDAT %d", &n)
				if ready != nil {
					<-ready
				}
				chunk := make([]byte, min(n, most))
				took, err := io.ReadFull(r, chunk)
				read <- chunk[:took]
				if err != nil {
					return
				}
				io.WriteString(conn, answer+"\r\n")
				if n > most {
					return
				}
			default:
				io.WriteString(conn, "250 ok\r\n")
			}
		}
	}()
	return l.Addr().String(), read
}

// aLargeChunk looks like commands, so that none can be taken for one unseen.
var aLargeChunk = bytes.Repeat([]byte("NOOP what is in a chunk is no command\r\n"), 200_000)

func TestALargeChunkArrivesAsItIs(t *testing.T) {
	address, got := chunkServer(t, len(aLargeChunk), "250 taken", nil)
	_, dial := startProxy(t, &proxy.Route{Servers: []string{address}})
	conn, replies := greetedClient(t, dial)
	text := fmt.Sprintf("BDAT %d LAST\r\n%s", len(aLargeChunk), aLargeChunk)
	if code := asks(t, conn, replies, text); code != "250" {
		t.Errorf("the chunk got %s", code)
	}
	if !bytes.Equal(<-got, aLargeChunk) {
		t.Error("the chunk is not as it was")
	}
	if code := asks(t, conn, replies, "NOOP\r\n"); code != "250" {
		t.Errorf("the command behind it got %s", code)
	}
}

func TestALargeChunkThatTheServerLeavesIsReadToItsEnd(t *testing.T) {
	address, got := chunkServer(t, 1<<20, "552 no", nil)
	_, dial := startProxy(t, &proxy.Route{Servers: []string{address}})
	conn, replies := greetedClient(t, dial)
	text := fmt.Sprintf("BDAT %d LAST\r\n%sQUIT\r\n", len(aLargeChunk), aLargeChunk)
	if code := asks(t, conn, replies, text); code != "552" && code != "421" { // a reset may take the 552 away
		t.Errorf("the chunk got %s", code)
	}
	<-got
	rest, _ := io.ReadAll(replies)
	if n := strings.Count(string(rest), "\r\n"); n > 1 { // what QUIT gets, if anything
		t.Errorf("behind it came %.200q", rest)
	}
}

// TestADrainDoesNotCutALargeChunk drains while the chunk waits for a server that
// does not read yet.
func TestADrainDoesNotCutALargeChunk(t *testing.T) {
	chunk := bytes.Repeat(aLargeChunk, 4)
	draining := make(chan struct{})
	address, got := chunkServer(t, len(chunk), "250 taken", draining)
	p, dial := startProxy(t, &proxy.Route{Servers: []string{address}})
	conn, replies := greetedClient(t, dial)
	var sent atomic.Int64
	go func() {
		fmt.Fprintf(conn, "BDAT %d LAST\r\n", len(chunk))
		for rest := chunk; len(rest) > 0; {
			n, err := conn.Write(rest[:min(len(rest), 64<<10)])
			if err != nil {
				return
			}
			sent.Add(int64(n))
			rest = rest[n:]
		}
	}()
	eventually(t, func() bool { return sent.Load() > 4<<20 })
	done := drained(p, t.Context())
	eventually(t, func() bool { return p.Addr("127.0.0.1:0") == nil }) // it has been asked to leave
	close(draining)
	if octets := <-got; !bytes.Equal(octets, chunk) {
		t.Errorf("%d of %d octets arrived, or not as they were", len(octets), len(chunk))
	}
	if code := asks(t, conn, replies, ""); code != "250" {
		t.Errorf("the chunk got %s", code)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
