package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"smtpshim/proxy"
	"smtpshim/proxy/login"
	"smtpshim/proxy/login/sasl"
	"smtpshim/proxy/smtptest"
	"smtpshim/rewrite"
)

// A loginLoad is a session that mails after a login at the server by XOAUTH2, whoever
// says that.
type loginLoad struct {
	name  string
	entry *login.Entry // nil: the route has no logins, and the client says AUTH
	auth  []string     // the client's AUTH, in lines that are answered each
}

// loginLoads are those for a token of so many octets.
func loginLoads(b testing.TB, octets int) []loginLoad {
	token := strings.Repeat("t", octets)
	auth := []string{"AUTH XOAUTH2 " + base64.StdEncoding.EncodeToString([]byte("user=scanner@example.com\x01auth=Bearer "+token+"\x01\x01"))}
	if len(auth[0]) > 510 {
		auth = strings.SplitAfterN(auth[0], "XOAUTH2 ", 2)
		auth[0] = strings.TrimSpace(auth[0])
	}
	office := account(b, login.AccountSettings{Name: "office", User: "scanner@example.com", Tokens: tokens(b, token)})
	return []loginLoad{
		{"client's own AUTH", nil, auth},
		{"client of a network", &login.Entry{Networks: loopback, Account: office}, nil},
		{"client with a password", &login.Entry{Networks: loopback, User: "canon", Secret: sasl.Password("short"), Account: office},
			[]string{"AUTH PLAIN " + inBase64("\x00canon\x00short")}},
	}
}

// start serves the load, and returns a func that is one session of it. trips counts the
// replies of the server.
func (l loginLoad) start(b testing.TB, trips *atomic.Int64) (session func()) {
	b.Helper()
	certificate, pool, err := smtptest.Certificate("127.0.0.1")
	if err != nil {
		b.Fatal(err)
	}
	server := tls.NewListener(listen(b), &tls.Config{Certificates: []tls.Certificate{certificate}})
	serveEach(server, func(conn net.Conn) { answerLogins(conn, trips) })
	r := &proxy.Route{Name: "bench", Listen: []string{"127.0.0.1:0"}, Servers: []string{server.Addr().String()},
		ServerTLS: proxy.ServerTLS{Mode: rewrite.ServerTLSImplicit, Verified: true, Dialer: proxy.DialWith(&tls.Config{RootCAs: pool})}}
	if l.entry != nil {
		if r.Logins, err = login.New(login.Settings{Entries: []login.Entry{*l.entry}}); err != nil {
			b.Fatal(err)
		}
	}
	p := quiet()
	if err := p.Apply([]*proxy.Route{r}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	address := p.Addr(r.Listen[0]).String()
	return func() {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		from := bufio.NewReader(conn)
		for i, line := range append(append([]string{"", "EHLO client.example.com"}, l.auth...), "MAIL FROM:<a@example.com>", "QUIT") {
			if i > 0 {
				io.WriteString(conn, line+"\r\n")
			}
			reply, err := from.ReadString('\n')
			for err == nil && reply[3] == '-' {
				reply, err = from.ReadString('\n')
			}
			if err != nil || reply[0] > '3' {
				b.Fatalf("%q is answered %q, %v", line, reply, err)
			}
		}
	}
}

// answerLogins is a server that wants XOAUTH2 before MAIL.
func answerLogins(conn net.Conn, trips *atomic.Int64) {
	defer conn.Close()
	from := bufio.NewReaderSize(conn, 16<<10)
	reply, in := greeting, false
	for {
		trips.Add(1) // before: whoever has the reply may ask at once
		if _, err := io.WriteString(conn, reply+"\r\n"); err != nil {
			return
		}
		line, err := from.ReadSlice('\n')
		switch {
		case err != nil:
			return
		case bytes.HasPrefix(line, []byte("EHLO")):
			reply = "250-mail.example.com\r\n250 AUTH LOGIN XOAUTH2"
		case bytes.Equal(line, []byte("AUTH XOAUTH2\r\n")):
			reply = "334 "
		case bytes.HasPrefix(line, []byte("AUTH XOAUTH2 ")), reply == "334 ":
			reply, in = "235 2.7.0 Authentication successful", true
		case bytes.HasPrefix(line, []byte("MAIL")) && !in:
			reply = "530 5.7.57 Client not authenticated to send mail."
		default:
			reply = "250 2.0.0 ok"
		}
	}
}

// With a token at hand the server is asked as often as by a client that logs in itself:
// what we say to it costs no round trip of its own.
func TestALoginCostsNoMoreRoundTripsThanTheServersOwnAUTH(t *testing.T) {
	for octets, want := range map[int]int64{100: 5, 1500: 6} {
		for _, l := range loginLoads(t, octets) {
			var trips atomic.Int64
			session := l.start(t, &trips)
			session() // which gets the token
			before := trips.Load()
			session()
			if got := trips.Load() - before; got != want {
				t.Errorf("%s, a token of %d octets: the server replied %d times, want %d", l.name, octets, got, want)
			}
		}
	}
}

// BenchmarkLogin is one whole session without a message, from the connection to its end.
func BenchmarkLogin(b *testing.B) {
	for _, l := range loginLoads(b, 1500) {
		b.Run(l.name, func(b *testing.B) {
			var trips atomic.Int64
			session := l.start(b, &trips)
			session()
			trips.Store(0)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				session()
				n++
			}
			b.ReportMetric(float64(trips.Load())/float64(n), "round-trips/op")
		})
	}
}
