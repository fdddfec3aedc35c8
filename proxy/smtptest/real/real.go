//go:build linux

// Package real starts mail servers and clients of other projects, so that tests can put
// something between them: Postfix with Cyrus SASL or Dovecot, Exim, sendmail, OpenSMTPD,
// smtp-sink, smtp-source, swaks, curl, msmtp, mutt and HAProxy, and for TLS OpenSSL's
// s_client and s_server, gnutls-cli, sslscan and posttls-finger.
//
// Programs are searched in the folder that SMTPSHIM_PEERS names, where .ci/run unpacks
// them, and then in PATH. A test whose program is missing is skipped; with
// SMTPSHIM_REQUIRE_PEERS set it fails. Each server has its own configuration, spool and
// address on loopback, so that many can run at a time. It is stopped and removed at the
// end of the test that started it. Postfix and Exim need root and Linux.
package real

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A Server is a mail server that runs until its test ends.
type Server struct {
	Addr string // the address at which it listens, host:port

	dir      string   // folder with all its files
	mail     string   // folder with a file for each stored message
	sendmail []string // the command that puts a message into its queue
	env      []string // of all its programs
	log      *journal // the log of Postfix
}

// Options are the options of a server. The zero value stores mail and uses no TLS.
type Options struct {
	CA    *CA               // offer STARTTLS with a certificate of this authority; as a client, trust it
	Cert  [2]string         // files of a certificate and its key, instead of one issued by CA
	Users map[string]string // passwords by name; offer AUTH (Postfix: PLAIN, Exim: NTLM)

	// Mechanisms are offered instead of these, in this order, and only users may send
	// mail. Postfix uses Cyrus SASL, for users in the domain example.com, whose names are
	// given without it. An Exim that relays uses them for Login.
	Mechanisms []string

	// TokenKey is the file (PEM) of the public key of OAuth tokens. These are JWTs signed
	// by RS256, with the user in the claim "email". Postfix offers XOAUTH2 and
	// OAUTHBEARER, asks Dovecot, and only users may send mail.
	TokenKey string

	Relay    string // host:port to which mail is sent from the queue, instead of storing it
	RelayTLS string // Postfix's smtp_tls_security_level for that: "none" (or ""), "may", "encrypt", "verify"; Exim knows "" as "may"
	Login    string // name:password for AUTH at Relay

	Listen string // host:port, instead of a free address on loopback; ":25" is every address (Postfix)

	Postscreen bool // connections go to Postfix's postscreen, which Settings configure

	Settings []string // further lines of Postfix's main.cf or of Exim's main section
}

// certificate returns the files of the certificate that the server shows and of its key.
func (o Options) certificate(t testing.TB, host string) (certificate, key string) {
	t.Helper()
	if o.Cert[0] != "" {
		return o.Cert[0], o.Cert[1]
	}
	return o.CA.Issue(t, host)
}

// A Message is a message that a server has stored, with LF as line end.
type Message struct {
	Header string // as stored: with the fields that the server has added
	Body   []byte
}

// Messages waits until the server has stored at least n messages, and returns all that it
// has stored, in no particular order. It fails the test if that takes more than a minute.
func (s *Server) Messages(t testing.TB, n int) []Message {
	t.Helper()
	var files []os.DirEntry
	Wait(t, "mail in "+s.mail, func() bool {
		files, _ = os.ReadDir(s.mail)
		return len(files) >= n
	})
	var all []Message
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(s.mail, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
		header, body, _ := bytes.Cut(text, []byte("\n\n"))
		all = append(all, Message{string(header), body})
	}
	return all
}

// Sendmail puts message into the server's queue with the server's command sendmail, whose
// options and recipients are args. It returns the output of sendmail, and fails the test
// if sendmail fails.
func (s *Server) Sendmail(t testing.TB, message string, args ...string) (output string) {
	t.Helper()
	args = append(s.sendmail[1:len(s.sendmail):len(s.sendmail)], args...)
	output, status := run(t, s.env, message, s.sendmail[0], args...)
	if status != 0 {
		t.Fatalf("sendmail ended with %d: %s", status, output)
	}
	return output
}

// Log returns what the server has logged so far. Only Postfix has a log.
func (s *Server) Log() string { return s.log.String() }

// Bin returns the path of program, which belongs to peer, such as "postfix", "exim" or
// "prometheus". If there is no such program, Bin ends the test by Missing.
func Bin(t testing.TB, peer, program string) string {
	t.Helper()
	for _, sub := range []string{"usr/sbin", "usr/bin", "usr/lib/postfix/sbin", "usr/libexec/sendmail"} {
		path := filepath.Join(folder(peer), sub, program)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path, err := exec.LookPath(program)
	if err != nil {
		Missing(t, "no "+program+" in SMTPSHIM_PEERS/"+peer+" or PATH")
	}
	return path
}

// folder returns the folder in which a peer's package was unpacked, or the root if it is
// installed.
func folder(peer string) string {
	if peers := os.Getenv("SMTPSHIM_PEERS"); peers != "" {
		return filepath.Join(peers, peer)
	}
	return "/"
}

// Missing skips the test with the reason why. If SMTPSHIM_REQUIRE_PEERS is set, it fails
// the test instead.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("SMTPSHIM_REQUIRE_PEERS") != "" {
		t.Fatal("a real peer is required: " + why)
	}
	t.Skip("a real peer is missing: " + why)
}

// needRoot skips or fails a test of programs that drop root's rights, and so need them,
// unless it runs as root.
func needRoot(t testing.TB, program string) {
	t.Helper()
	if os.Getuid() != 0 {
		Missing(t, program+" must be started by root")
	}
}
