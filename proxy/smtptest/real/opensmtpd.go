//go:build linux

package real

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// OpenSMTPD starts an OpenSMTPD that accepts mail for every address from anybody, and
// keeps the mail in its queue. It offers no TLS: in Debian 12, each handshake of
// 6.8.0p2 with OpenSSL 3 fails. Its folders and users are compiled in, so it runs in a
// mount namespace with other folders and another /etc/passwd.
func OpenSMTPD(t testing.TB) *Server {
	t.Helper()
	smtpd := Bin(t, "opensmtpd", "smtpd")
	needRoot(t, "smtpd")
	s := &Server{Addr: FreeAddr(), dir: Dir(t)}
	mkdirs(t, s.dir, 0, 0o711, "spool", "spool/smtpd", "lib", "lib/opensmtpd", "lib/opensmtpd/empty")
	host, port, _ := net.SplitHostPort(s.Addr)
	write(t, s.dir, map[string]string{
		"smtpd.conf": fmt.Sprintf("listen on %s port %s hostname opensmtpd.example.com\naction out relay host smtp://127.0.0.1:1\nmatch from any for any action out\n", host, port),
		"passwd":     withFile(t, "/etc/passwd", "opensmtpd:x:2002:2002::/:/bin/false\nopensmtpq:x:2003:2003::/:/bin/false\n"),
		"group":      withFile(t, "/etc/group", "opensmtpd:x:2002:\nopensmtpq:x:2003:\n"),
	})
	startApart(t, s.dir, map[string]string{"passwd": "/etc/passwd", "group": "/etc/group", "spool": "/var/spool", "lib": "/var/lib"},
		smtpd, "-d", "-f", filepath.Join(s.dir, "smtpd.conf"))
	Listening(t, s.Addr)
	return s
}

// withFile returns the path of a copy of a file with text appended.
func withFile(t testing.TB, name, more string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + more
}
