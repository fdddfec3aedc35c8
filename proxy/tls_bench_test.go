package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"net"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

// benchedTLS is a client behind a proxy, with TLS from the beginning on both
// legs. resume: the client takes up its TLS session again where it can, as the
// proxy always does.
func benchedTLS(b *testing.B, resume bool) (dial func() *peer) {
	b.Helper()
	certificate, pool, err := smtptest.Certificate("127.0.0.1")
	if err != nil {
		b.Fatal(err)
	}
	ours := &tls.Config{Certificates: []tls.Certificate{certificate}}
	l := tls.NewListener(listen(b), ours)
	serveEach(l, answer)
	r := &proxy.Route{Name: "bench", Listen: []string{"127.0.0.1:0"}, Servers: []string{l.Addr().String()},
		ClientTLS: proxy.ClientTLS{Mode: rewrite.ClientTLSImplicit, Acceptor: proxy.AcceptWith(&tls.Config{Certificates: ours.Certificates})},
		ServerTLS: proxy.ServerTLS{Mode: rewrite.ServerTLSImplicit, Dialer: proxy.DialWith(&tls.Config{RootCAs: pool})}}
	p := quiet()
	if err := p.Apply([]*proxy.Route{r}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	config := &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
	if resume {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	address := p.Addr(r.Listen[0]).String()
	return func() *peer {
		raw, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		conn := tls.Client(raw, config)
		p := &peer{b, conn, bufio.NewReader(conn)}
		p.hear()
		return p
	}
}

// BenchmarkTLSHandshakes is one session without a message: a handshake on each
// leg.
func BenchmarkTLSHandshakes(b *testing.B) {
	for name, resume := range map[string]bool{"full": false, "resumed": true} {
		b.Run(name, func(b *testing.B) {
			dial := benchedTLS(b, resume)
			b.ReportAllocs()
			for b.Loop() {
				p := dial()
				p.say([]byte("QUIT\r\n"), 1)
				p.conn.Close()
			}
			b.ReportMetric(2*float64(b.N)/b.Elapsed().Seconds(), "handshakes/s")
		})
	}
}

// BenchmarkTLSMessageCopy is a message of 8 MiB, decrypted and encrypted anew.
func BenchmarkTLSMessageCopy(b *testing.B) {
	line := append(bytes.Repeat([]byte("x"), 76), "\r\n"...)
	text := bytes.Repeat(line, 8<<20/len(line))
	p := benchedTLS(b, false)()
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
