//go:build linux

package real

import (
	"net"
	"path/filepath"
	"testing"
)

// SClient connects OpenSSL's s_client to addr. What is written to the Pipe goes to the
// server, and what is read from the Pipe comes from the server. args are further
// options of s_client. If args has "-starttls", "smtp", s_client begins TLS by
// STARTTLS; otherwise it begins TLS at once.
func SClient(t testing.TB, addr string, args ...string) *Pipe {
	t.Helper()
	return StartPipe(t, nil, Bin(t, "openssl", "openssl"), append([]string{"s_client", "-quiet", "-connect", addr}, args...)...)
}

// SClientReport performs a TLS handshake with addr after STARTTLS, by OpenSSL's
// s_client, and sends QUIT. args are further options of s_client. output is the report
// of s_client, and status its exit status.
func SClientReport(t testing.TB, addr string, args ...string) (output string, status int) {
	t.Helper()
	return run(t, nil, "QUIT\r\n", Bin(t, "openssl", "openssl"), append([]string{"s_client", "-brief", "-ign_eof", "-starttls", "smtp", "-connect", addr}, args...)...)
}

// SServer starts OpenSSL's s_server, which listens at addr for one connection and
// begins TLS at once. certificate and key are files. What is written to the Pipe goes
// to the client, if there is one, and what is read from the Pipe comes from the client.
// args are further options of s_server.
func SServer(t testing.TB, addr, certificate, key string, args ...string) *Pipe {
	t.Helper()
	return StartPipe(t, nil, Bin(t, "openssl", "openssl"), append([]string{"s_server", "-quiet", "-naccept", "1",
		"-accept", addr, "-cert", certificate, "-key", key}, args...)...)
}

// GnuTLS connects gnutls-cli to addr and begins TLS by STARTTLS. priority is GnuTLS's
// priority string. What is written to the Pipe goes to the server inside TLS, and what
// is read from the Pipe comes from the server.
func GnuTLS(t testing.TB, addr, priority string) *Pipe {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(Dir(t), "gnutls")
	printIfFailed(t, log)
	return StartPipe(t, nil, Bin(t, "gnutls", "gnutls-cli"), "--logfile", log, "--starttls-proto", "smtp", "--insecure",
		"--disable-sni", "--priority", priority, "--port", port, host)
}

// SSLScan runs sslscan on the server at addr, with TLS after STARTTLS. It returns the
// report of sslscan and its exit status.
func SSLScan(t testing.TB, addr string) (output string, status int) {
	t.Helper()
	return run(t, nil, "", Bin(t, "sslscan", "sslscan"), "--no-colour", "--starttls-smtp", "--no-heartbleed", "--no-compression", "--no-groups", addr)
}

// PostTLSFinger runs Postfix's posttls-finger on the server at addr. posttls-finger
// verifies that the server's certificate is for name, and was issued by an authority
// whose certificate is in the file authorities (PEM). PostTLSFinger returns the output
// of posttls-finger and its exit status.
func PostTLSFinger(t testing.TB, addr, name, authorities string) (output string, status int) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	finger := Bin(t, "postfix", "posttls-finger")
	dir := Dir(t)
	write(t, dir, map[string]string{"main.cf": "compatibility_level = 3.6\nmyhostname = finger.example.com\ninet_protocols = ipv4\n" +
		"mail_owner = " + postfixOwner + "\nsetgid_group = " + postfixGroup + "\n"})
	return run(t, append(postfixEnv(), "MAIL_CONFIG="+dir), "", finger,
		"-c", "-l", "secure", "-F", authorities, "["+host+"]:"+port, name)
}
