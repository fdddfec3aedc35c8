package proxy_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"testing"

	"smtpshim/proxy"
)

// simpleServer answers every command with the same few replies, as fast as it
// can and without allocating.
func simpleServer(b testing.TB) string {
	b.Helper()
	l := listen(b)
	serveEach(l, answer)
	return l.Addr().String()
}

var okReply, byeReply = []byte("250 ok\r\n"), []byte("221 bye\r\n")

func answer(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 16<<10)
	io.WriteString(conn, greeting+"\r\n")
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		reply := okReply
		switch line[0] {
		case 'D':
			io.WriteString(conn, "354 go ahead\r\n")
			for !bytes.Equal(line, []byte(".\r\n")) {
				if line, err = r.ReadSlice('\n'); err != nil {
					return
				}
			}
		case 'Q':
			reply = byeReply
		}
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}

// benched is a client behind a proxy; without rules, or with the standard ones.
func benched(b *testing.B, rules ...string) (dial func() *peer) {
	b.Helper()
	r := &proxy.Route{Name: "bench", Listen: []string{"127.0.0.1:0"}, Servers: []string{simpleServer(b)}, Rules: compile(b, rules...)}
	p := quiet()
	if err := p.Apply([]*proxy.Route{r}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	address := p.Addr(r.Listen[0]).String()
	return func() *peer { return dialPeer(b, address) }
}

// A peer is a client that allocates nothing once it is connected.
type peer struct {
	b    *testing.B
	conn net.Conn
	r    *bufio.Reader
}

func dialPeer(b *testing.B, address string) *peer {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	p := &peer{b, conn, bufio.NewReader(conn)}
	p.hear()
	return p
}

func (p *peer) hear() {
	if _, err := p.r.ReadSlice('\n'); err != nil {
		p.b.Fatal(err)
	}
}

func (p *peer) say(octets []byte, replies int) {
	if _, err := p.conn.Write(octets); err != nil {
		p.b.Fatal(err)
	}
	for range replies {
		p.hear()
	}
}

var envelope = [][]byte{[]byte("EHLO client.example.com\r\n"), []byte("MAIL FROM:<a@example.com>\r\n"),
	[]byte("RCPT TO:<b@example.net>\r\n"), []byte("DATA\r\n")}

// BenchmarkSession is one whole session with a short message, from the
// connection to its end.
func BenchmarkSession(b *testing.B) {
	for name, rules := range map[string][]string{"plain": nil, "standard": {"standard"}} {
		b.Run(name, func(b *testing.B) {
			dial := benched(b, rules...)
			b.ReportAllocs()
			for b.Loop() {
				p := dial()
				for _, command := range envelope {
					p.say(command, 1)
				}
				p.say([]byte("Subject: x\r\n\r\ntext\r\n.\r\n"), 1)
				p.say([]byte("QUIT\r\n"), 1)
				p.conn.Close()
			}
		})
	}
}

// BenchmarkCommand is a NOOP that no rule asks for, there and back.
func BenchmarkCommand(b *testing.B) {
	for name, rules := range map[string][]string{"plain": nil, "standard": {"standard"}} {
		b.Run(name, func(b *testing.B) {
			p := benched(b, rules...)()
			defer p.conn.Close()
			p.say(envelope[0], 1) // in a transaction, where NOOPs are not limited
			p.say([]byte("MAIL FROM:<a@example.com>\r\n"), 1)
			noop := []byte("NOOP\r\n")
			b.ReportAllocs()
			for b.Loop() {
				p.say(noop, 1)
			}
		})
	}
}

// BenchmarkMessageCopy is a message of 8 MiB.
func BenchmarkMessageCopy(b *testing.B) {
	line := append(bytes.Repeat([]byte("x"), 76), "\r\n"...)
	text := bytes.Repeat(line, 8<<20/len(line))
	p := benched(b)()
	defer p.conn.Close()
	p.say(envelope[0], 1)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		for _, command := range envelope[1:] {
			p.say(command, 1)
		}
		p.say(text, 0)
		p.say([]byte(".\r\n"), 1)
	}
}
