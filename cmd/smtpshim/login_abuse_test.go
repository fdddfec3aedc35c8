//go:build linux

package main

import (
	"bufio"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// saysAtOnce sends everything at once behind the greeting, and returns the beginnings of
// the final lines of so many replies; "end" stands for the end of the connection.
func saysAtOnce(t *testing.T, address, octets string, replies int) (heard []string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	lines := bufio.NewScanner(conn)
	lines.Scan() // the greeting
	if _, err := conn.Write([]byte(octets)); err != nil {
		t.Fatal(err)
	}
	for len(heard) < replies {
		if !lines.Scan() {
			return append(heard, "end")
		}
		if line := lines.Text(); len(line) < 4 || line[3] != '-' {
			heard = append(heard, line[:min(3, len(line))])
		}
	}
	return heard
}

// Each of these is what a hasty client, or one that means harm, may send in one packet.
func TestALoginIsAnsweredInOrderWhateverIsSentBehindIt(t *testing.T) {
	p := startProvider(t)
	address := freeAddress(t)
	r := &running{t: t, path: filepath.Join(t.TempDir(), "smtpshim.toml"), admin: freeAddress(t)}
	r.route = p.route() + "user = \"canon\"\npassword_file = \"" + secretFile(t, "sh0rt") + "\"\n"
	r.configure(address, p.mail, p.account("sessions = 1\nwait = \"1s\"\n"))
	r.serve()
	const hello, mail = "EHLO c.example.com\r\n", "MAIL FROM:<a@example.com>\r\n"
	good := "AUTH PLAIN " + inBase64("\x00canon\x00sh0rt") + "\r\n"
	name, password := inBase64("canon")+"\r\n", inBase64("sh0rt")+"\r\n"
	for _, c := range []struct {
		what, sends, hears string
	}{
		{"a whole message", hello + good + mail + "RCPT TO:<ben@example.net>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n", "250 235 250 250 354 250 221"},
		{"AUTH LOGIN and its lines", hello + "AUTH LOGIN\r\n" + name + password + mail, "250 334 334 235 250"},
		{"AUTH twice", hello + good + good + mail, "250 235 503 250"},
		{"AUTH in a transaction", hello + good + mail + good + "RCPT TO:<ben@example.net>\r\n", "250 235 250 503 250"},
		{"AUTH cancelled, then right", hello + "AUTH LOGIN\r\n*\r\n" + mail + good + mail, "250 334 501 530 235 250"},
		{"a mechanism that there is not", hello + "AUTH GSSAPI\r\n" + mail, "250 504 530"},
		{"no base64", hello + "AUTH PLAIN !\r\n" + mail, "250 501 530"},
		{"a long AUTH line", hello + "AUTH PLAIN " + strings.Repeat("A", 100_000) + "\r\n" + mail, "250 500 530"},
		{"a long SASL line", hello + "AUTH PLAIN\r\n" + strings.Repeat("A", 100_000) + "\r\n" + mail, "250 334 500 end"},
		{"NUL in a SASL line", hello + "AUTH LOGIN\r\n\x00\x00\r\n" + mail, "250 334 500 end"},
		{"another verb for the sender", hello + good + "SAML FROM:<evil@example.com>\r\nSEND FROM:<evil@example.com>\r\n" + mail, "250 235 502 502 250"},
		{"nothing", mail, "530"},
	} {
		want := strings.Fields(c.hears)
		if got := saysAtOnce(t, address, c.sends, len(want)); !slices.Equal(got, want) {
			t.Errorf("%s: the client hears %q, want %q", c.what, got, want)
		}
	}
}
