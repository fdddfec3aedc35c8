//go:build linux

package real

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// OpenSMTPD starts an OpenSMTPD that takes mail for every address from anybody, and keeps
// it in its queue. It offers TLS if there is a CA. Its folders and users are compiled into
// it, so the calling test gets files of its own; see OwnFiles.
func OpenSMTPD(t testing.TB, o Options) *Server {
	t.Helper()
	smtpd := Bin(t, "opensmtpd", "smtpd")
	needRoot(t, "smtpd")
	s := &Server{Addr: FreeAddr(), dir: Dir(t)}
	mkdirs(t, s.dir, 0, 0o711, "spool", "spool/smtpd", "lib", "lib/opensmtpd", "lib/opensmtpd/empty")
	host, port, _ := net.SplitHostPort(s.Addr)
	tls, listen := "", fmt.Sprintf("listen on %s port %s hostname opensmtpd.example.com", host, port)
	if o.CA != nil {
		certificate, key := o.certificate(t, host)
		tls = fmt.Sprintf("pki own cert %q\npki own key %q\n", certificate, key)
		listen += " tls pki own"
	}
	write(t, s.dir, map[string]string{
		"smtpd.conf": tls + listen + "\naction out relay host smtp://127.0.0.1:1\nmatch from any for any action out\n",
		"passwd":     withFile(t, "/etc/passwd", "opensmtpd:x:2002:2002::/:/bin/false\nopensmtpq:x:2003:2003::/:/bin/false\n"),
		"group":      withFile(t, "/etc/group", "opensmtpd:x:2002:\nopensmtpq:x:2003:\n"),
	})
	OwnFiles(t)
	for from, to := range map[string]string{"passwd": "/etc/passwd", "group": "/etc/group", "spool": "/var/spool", "lib": "/var/lib"} {
		Bind(t, filepath.Join(s.dir, from), to)
	}
	Start(t, nil, smtpd, "-d", "-f", filepath.Join(s.dir, "smtpd.conf"))
	Listening(t, s.Addr)
	return s
}

// withFile is a file with more at its end.
func withFile(t testing.TB, name, more string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + more
}
