//go:build linux

// Package real starts mail servers and clients of other projects, so that tests can put
// smtpshim between them: Postfix with Cyrus SASL or Dovecot, Exim, Dovecot, sendmail,
// OpenSMTPD, smtp-sink, smtp-source, swaks, curl, msmtp and mutt, and for TLS OpenSSL's
// s_client and s_server, gnutls-cli, sslscan and posttls-finger.
//
// The package searches for programs in the folder that SMTPSHIM_PEERS names, where
// .ci/run unpacks them, and then in PATH. A test whose program is missing is skipped;
// with SMTPSHIM_REQUIRE_PEERS set it fails. Each server has its own configuration,
// spool and address on loopback, so that many can run at a time. A server is stopped,
// and its files are removed, at the end of the test that started it. The mail servers
// need root.
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
	Addr string // the address at which it listens: host:port, or "unix:" and a path

	dir      string   // folder with all its files
	mail     string   // folder with a file for each stored message
	sendmail []string // the command that puts a message into its queue
	env      []string // of all its programs
	log      *journal // the log of Postfix
}

// Options are the options of Postfix and Exim, and in part of Sendmail. With the zero
// value, a server stores mail and uses no TLS.
type Options struct {
	// If CA is not nil, the server offers STARTTLS, with a certificate that CA
	// issues. As a client of Relay, the server trusts CA.
	CA *CA
	// Cert has the files of a certificate and of its key, which the server uses in
	// place of a certificate that CA issues; zero: CA issues one. Without CA, Cert
	// is not used.
	Cert [2]string
	// Users are passwords by user name. If there are any, Postfix offers AUTH
	// PLAIN, and Exim AUTH NTLM. Without Mechanisms and TokenKey, clients may
	// also send mail without a login.
	Users map[string]string

	// Mechanisms, if not nil, are the mechanisms of AUTH that the server offers in
	// place of PLAIN or NTLM, in this order. Mail is then accepted only after a
	// login. Postfix checks Users by Cyrus SASL, which adds the domain example.com
	// to the names. With Relay, Postfix ignores Mechanisms, and Exim uses them for
	// Login.
	Mechanisms []string

	// TokenKey is the file (PEM) of the public key of tokens. If it is not "",
	// Postfix offers XOAUTH2 and OAUTHBEARER, and accepts mail only from users
	// whose token Dovecot accepts. A token is a JWT signed by RS256, with the user
	// in the claim "email".
	TokenKey string

	// Relay is the host:port to which the server sends all mail from its queue; "":
	// the server stores mail.
	Relay string
	// RelayTLS is Postfix's smtp_tls_security_level for Relay: "none", "may", "encrypt"
	// or "verify"; "" is "none". An Exim knows "encrypt" and "verify", and takes
	// anything else for "may".
	RelayTLS string
	// Login is the name:password for AUTH at Relay; "": no AUTH. An Exim also needs
	// Mechanisms.
	Login string

	// Listen is the address at which Postfix listens, as host:port, or ":port" for all
	// addresses of the machine; "": a random one on loopback.
	Listen string

	// If Postscreen is true, Postfix accepts connections by its postscreen, which
	// Settings configure.
	Postscreen bool

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

// Messages waits until s has stored at least n messages, and returns all that it has
// stored, in no particular order. It fails the test if that takes more than a minute. s
// must be a Postfix, an Exim, an smtp-sink, or a result of Mailbox; otherwise Messages
// calls t.Fatal.
func (s *Server) Messages(t testing.TB, n int) []Message {
	t.Helper()
	if s.mail == "" {
		t.Fatalf("the server at %s stores no messages that can be read: only Postfix, Exim, smtp-sink and a result of Mailbox do", s.Addr)
	}
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

// Sendmail puts message into the queue of s, a Postfix or an Exim, by the server's
// command sendmail. args are options of sendmail and the recipients. Sendmail returns
// the output of the command, and fails the test if the command fails.
func (s *Server) Sendmail(t testing.TB, message string, args ...string) (output string) {
	t.Helper()
	if len(s.sendmail) == 0 {
		t.Fatalf("the server at %s has no command sendmail: only Postfix and Exim have", s.Addr)
	}
	args = append(s.sendmail[1:len(s.sendmail):len(s.sendmail)], args...)
	output, status := run(t, s.env, message, s.sendmail[0], args...)
	if status != 0 {
		t.Fatalf("sendmail ended with %d: %s", status, output)
	}
	return output
}

// Log returns what s has logged so far. s must be a Postfix: for others, Log panics.
func (s *Server) Log() string {
	if s.log == nil {
		panic("real.Server.Log: the server at " + s.Addr + " has no log: only Postfix has")
	}
	return s.log.String()
}

// Bin returns the path of program. peer is the name of the folder in SMTPSHIM_PEERS in
// which program may be, such as "postfix" or "exim". If program is neither there nor in
// PATH, Bin calls Missing.
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

// Missing skips the test with the reason why. If SMTPSHIM_REQUIRE_PEERS is set, it
// fails the test instead.
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
