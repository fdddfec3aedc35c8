//go:build linux

package real

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// Swaks sends a message to addr, with sender and recipient in example.com. args are
// appended to its command line. It returns the dialogue that swaks printed, and its exit
// status, 0 if the message was accepted.
func Swaks(t testing.TB, addr string, args ...string) (output string, status int) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	swaks := Bin(t, "swaks", "swaks")
	return run(t, nil, "", swaks, append([]string{
		"--server", host, "--port", port, "--helo", "swaks.example.com",
		"--from", "sender@example.com", "--to", "recipient@example.com",
	}, args...)...)
}

// Curl sends a message to addr as Swaks does. It returns the dialogue without the
// message.
func Curl(t testing.TB, addr, message string, args ...string) (output string, status int) {
	t.Helper()
	curl := Bin(t, "curl", "curl")
	return run(t, nil, message, curl, append([]string{
		"--verbose", "--silent", "--show-error", "smtp://" + addr + "/curl.example.com",
		"--mail-from", "sender@example.com", "--mail-rcpt", "recipient@example.com",
		"--upload-file", "-",
	}, args...)...)
}

// Msmtp sends a message to addr as Swaks does. args are appended to its command line. It
// returns the dialogue.
func Msmtp(t testing.TB, addr, message string, args ...string) (output string, status int) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, nil, message, Bin(t, "msmtp", "msmtp"), append(append([]string{"--debug", "--file=/dev/null",
		"--host=" + host, "--port=" + port, "--domain=msmtp.example.com", "--from=sender@example.com"}, args...), "recipient@example.com")...)
}

// Mutt sends a text to addr, with sender and recipient in example.com. settings are
// commands of its configuration, such as `set ssl_starttls=no`. user is name:password, ""
// for no login.
func Mutt(t testing.TB, addr, text, user string, settings ...string) (output string, status int) {
	t.Helper()
	mutt := Bin(t, "mutt", "mutt")
	dir := Dir(t)
	if user != "" {
		user += "@"
	}
	write(t, dir, map[string]string{"muttrc": strings.Join(append([]string{
		`set smtp_url="smtp://` + user + addr + `"`,
		"set from=sender@example.com use_from=yes hostname=mutt.example.com copy=no record= connect_timeout=30",
	}, settings...), "\n") + "\n"})
	return run(t, []string{"HOME=" + dir}, text, mutt, "-n", "-F", filepath.Join(dir, "muttrc"), "-s", "mutt", "recipient@example.com")
}

// SMTPSource sends messages to addr with Postfix's load generator. args are its options
// (-m messages, -s sessions, -l length, ...).
func SMTPSource(t testing.TB, addr string, args ...string) (output string, status int) {
	t.Helper()
	source := Bin(t, "postfix", "smtp-source")
	return run(t, postfixEnv(), "", source, append(args,
		"-M", "source.example.com", "-f", "sender@example.com", "-t", "recipient@example.com", "inet:"+addr)...)
}

// SMTPSink starts Postfix's test receiver. It stores each message in a file, after header
// lines with the envelope. args are further options.
func SMTPSink(t testing.TB, args ...string) *Server {
	t.Helper()
	sink := Bin(t, "postfix", "smtp-sink")
	s := &Server{Addr: FreeAddr(), dir: Dir(t)}
	s.mail = filepath.Join(s.dir, "mail")
	mkdirs(t, s.dir, postfixUID, 0o755, "mail")
	needRoot(t, "smtp-sink -u")
	Start(t, postfixEnv(), sink, append(args, "-u", postfixOwner, "-d", s.mail+"/%S.", "inet:"+s.Addr, "100")...)
	Listening(t, s.Addr)
	return s
}

// Python runs a script with Python 3, and fails the test if the script fails.
func Python(t testing.TB, script string, args ...string) (output string) {
	t.Helper()
	output, status := run(t, nil, script, Bin(t, "python", "python3"), append([]string{"-"}, args...)...)
	if status != 0 {
		t.Fatalf("Python ended with %d:\n%s", status, output)
	}
	return output
}
