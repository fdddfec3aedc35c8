//go:build linux

// Package real starts mail servers and clients that other people wrote, so that
// tests can put something between them: Postfix with Cyrus SASL or Dovecot, Exim, sendmail, OpenSMTPD,
// smtp-sink, smtp-source, swaks, curl, msmtp, mutt, HAProxy, and of TLS OpenSSL's
// s_client and s_server, gnutls-cli, sslscan, posttls-finger.
//
// Programs are looked for in the folder that SMTPSHIM_PEERS names, where .ci/run
// unpacks them, and then in PATH. A test whose program is missing is skipped;
// with SMTPSHIM_REQUIRE_PEERS set it fails. Every server has its own
// configuration, spool and address on loopback, so many can run at once, and
// each is stopped and removed with the test that started it. Postfix and Exim
// need root, as they do everywhere, and Linux.
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
	Addr string // where it listens, host:port

	dir      string   // everything it has on disk
	mail     string   // the folder with one file for each stored message
	sendmail []string // the command that puts a message into its queue
	env      []string // for every program of it
	log      *journal // what Postfix logs
}

// Options of a server. The zero value stores what it gets and speaks in clear.
type Options struct {
	CA    *CA               // STARTTLS is offered with a certificate of this authority; as a client, it is believed
	Cert  [2]string         // files of a certificate and its key, in place of one that CA makes
	Users map[string]string // passwords by name; AUTH is offered (Postfix: PLAIN, Exim: NTLM)

	// Mechanisms are offered in place of those, the first before the others, and mail is
	// taken from users alone. Postfix asks Cyrus SASL, for users of the domain
	// example.com, whose names are given without it. An Exim that relays uses them for
	// Login.
	Mechanisms []string

	// TokenKey is the file (PEM) of the public key of OAuth tokens: JWTs signed by RS256,
	// with the user as the claim "email". Postfix offers XOAUTH2 and OAUTHBEARER, asks
	// Dovecot, and takes mail from users alone.
	TokenKey string

	Relay    string // host:port; mail is not stored but sent there from the queue
	RelayTLS string // Postfix's smtp_tls_security_level for that: "none" (or ""), "may", "encrypt", "verify"; Exim knows "" as "may"
	Login    string // name:password, said to Relay with AUTH

	Listen string // host:port in place of a free one on loopback; ":25" is every address (Postfix)

	Postscreen bool // connections come to Postfix's postscreen, whose settings are among Settings

	Settings []string // further lines of Postfix's main.cf or of Exim's main section
}

// certificate names the files of the one that the server shows.
func (o Options) certificate(t testing.TB, host string) (certificate, key string) {
	t.Helper()
	if o.Cert[0] != "" {
		return o.Cert[0], o.Cert[1]
	}
	return o.CA.Issue(t, host)
}

// A Message is one that a server stored, with line feeds for line ends.
type Message struct {
	Header string // as stored: what the server added, and what was sent
	Body   []byte
}

// Messages waits until the server has stored n messages, and returns all it has
// in no certain order.
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

// Sendmail puts a message into the server's queue. args are sendmail's: options
// and recipients.
// It returns what sendmail printed.
func (s *Server) Sendmail(t testing.TB, message string, args ...string) (output string) {
	t.Helper()
	args = append(s.sendmail[1:len(s.sendmail):len(s.sendmail)], args...)
	output, status := run(t, s.env, message, s.sendmail[0], args...)
	if status != 0 {
		t.Fatalf("sendmail ended with %d: %s", status, output)
	}
	return output
}

// Log is what the server has logged until now (Postfix).
func (s *Server) Log() string { return s.log.String() }

// Bin is the path of a program of a peer ("postfix", "exim", "prometheus"). The
// test is skipped, or fails, if there is none.
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

// folder is where a peer's package was unpacked, or the root if it is installed.
func folder(peer string) string {
	if peers := os.Getenv("SMTPSHIM_PEERS"); peers != "" {
		return filepath.Join(peers, peer)
	}
	return "/"
}

// Missing skips the test, or fails it where real peers are required.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("SMTPSHIM_REQUIRE_PEERS") != "" {
		t.Fatal("a real peer is required: " + why)
	}
	t.Skip("a real peer is missing: " + why)
}

// needRoot is for programs that give up root's rights and so must have them.
func needRoot(t testing.TB, program string) {
	t.Helper()
	if os.Getuid() != 0 {
		Missing(t, program+" must be started by root")
	}
}
