//go:build linux

package real

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// Swaks sends a message with swaks to addr, with sender and recipient in example.com.
// args are further options of swaks. output is the dialogue that swaks printed. status
// is the exit status of swaks: 0 if the message was accepted.
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

// Curl sends message with curl to addr, with sender and recipient in example.com. args
// are further options of curl. output is the dialogue without the message. status is
// the exit status of curl: 0 if the message was accepted.
func Curl(t testing.TB, addr, message string, args ...string) (output string, status int) {
	t.Helper()
	curl := Bin(t, "curl", "curl")
	return run(t, nil, message, curl, append([]string{
		"--verbose", "--silent", "--show-error", "smtp://" + addr + "/curl.example.com",
		"--mail-from", "sender@example.com", "--mail-rcpt", "recipient@example.com",
		"--upload-file", "-",
	}, args...)...)
}

// Msmtp sends message with msmtp to addr, with sender and recipient in example.com.
// args are further options of msmtp. output is the dialogue. status is the exit status
// of msmtp: 0 if the message was accepted.
func Msmtp(t testing.TB, addr, message string, args ...string) (output string, status int) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, nil, message, Bin(t, "msmtp", "msmtp"), append(append([]string{"--debug", "--file=/dev/null",
		"--host=" + host, "--port=" + port, "--domain=msmtp.example.com", "--from=sender@example.com"}, args...), "recipient@example.com")...)
}

// Mutt sends text with mutt to addr, with sender and recipient in example.com. user is
// name:password for a login, or "" for none. settings are commands of mutt's
// configuration, such as `set ssl_starttls=no`. It returns the output of mutt and its exit
// status: 0 if the message was accepted.
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

// SMTPSource sends messages to addr with smtp-source, Postfix's load generator, with
// sender and recipient in example.com. args are further options of smtp-source, such as
// -m for the number of messages. SMTPSource returns the output and exit status of
// smtp-source.
func SMTPSource(t testing.TB, addr string, args ...string) (output string, status int) {
	t.Helper()
	source := Bin(t, "postfix", "smtp-source")
	return run(t, postfixEnv(), "", source, append(args,
		"-M", "source.example.com", "-f", "sender@example.com", "-t", "recipient@example.com", "inet:"+addr)...)
}

// SMTPSink starts smtp-sink, Postfix's test receiver, and returns when smtp-sink
// accepts connections. smtp-sink stores each message, with header lines for the
// envelope at its beginning. args are further options of smtp-sink.
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

// Python runs script, the text of a Python 3 program, with the arguments args. It
// returns the output of the program, and fails the test if the program fails.
func Python(t testing.TB, script string, args ...string) (output string) {
	t.Helper()
	output, status := run(t, nil, script, Bin(t, "python", "python3"), append([]string{"-"}, args...)...)
	if status != 0 {
		t.Fatalf("Python ended with %d:\n%s", status, output)
	}
	return output
}
