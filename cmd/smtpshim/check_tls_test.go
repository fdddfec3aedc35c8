package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckHasTheFingerprintsOfCertificatesOfOurOwnMaking(t *testing.T) {
	configDir(t)
	infos := mustRead(t, "tls-everything.toml").Routes[0].Client.Store.Infos()
	_, out, _ := call("check", "-config", "tls-everything.toml")
	for _, info := range infos {
		if want := hexadecimal(info.Fingerprint); !strings.Contains(out, want) {
			t.Errorf("check does not have %s:\n%s", want, out)
		}
	}
	if len(infos) != 2 {
		t.Errorf("%d certificates, want 2", len(infos))
	}
}

func TestCheckMakesNoCertificates(t *testing.T) {
	configDir(t)
	status, out, _ := call("check", "-config", "tls-everything.toml")
	words := strings.Join(strings.Fields(out), " ")
	file := filepath.Join("state", "in", "self-signed-ecdsa.pem")
	if status != succeeded || !strings.Contains(words, file+": for mail.example.com, 192.0.2.1; ECDSA 256; is made when the program starts") {
		t.Errorf("%d\n%s", status, out)
	}
	if _, err := os.Stat("state"); !os.IsNotExist(err) {
		t.Errorf("the directory: %v", err)
	}
}

func TestCheckTellsWhatSTARTTLSBetweenTheOthersCosts(t *testing.T) {
	const costs = "costs after STARTTLS smtpshim can read nothing, and these rules heal nothing: join-data-reply, no-valid-recipients, one-auth-line, translate-xauth"
	for _, mode := range []string{"off", "opportunistic", "require"} {
		file := filepath.Join(t.TempDir(), "smtpshim.toml")
		write(t, file, fmt.Sprintf("[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"mail.example.com:25\"]\nserver_tls.mode = %q\n", mode))
		_, out, _ := call("check", "-config", file)
		if said := strings.Contains(strings.Join(strings.Fields(out), " "), costs); said != (mode == "off") {
			t.Errorf("server_tls.mode = %q:\n%s", mode, out)
		}
	}
}

func TestCheckTellsWhatIsWeak(t *testing.T) {
	configDir(t)
	_, out, _ := call("check", "-config", "tls-everything.toml")
	words := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{
		"WEAK obsolete-tls-1.0, broken-3des, recordable-rsa-key-exchange with clients in 192.0.2.0/24, 2001:db8::7/128, until 2099-01-31, then refused",
		"broken-3des: suites with 3DES",
		"versions TLS 1.0 to 1.3 ciphers modern (ECDHE with AES-GCM or ChaCha20), TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
		"WEAK obsolete-tls-1.1 with everybody, until 2020-12-31, then still in force, with a warning",
		"WARNING client_tls: WEAK TLS is allowed: obsolete-tls-1.0, broken-3des, recordable-rsa-key-exchange with clients in 192.0.2.0/24",
		"WARNING client_tls: obsolete-tls-1.1: allowed until 2020-12-31",
		"WARNING server_tls: WEAK TLS is allowed: obsolete-tls-1.0, broken-rc4, any-name-in-certificates with the server, for ever",
		"the certificate must be one that is pinned versions TLS 1.3 ciphers those of TLS 1.3 pin 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
		"EXPIRED", "days left",
		"client CA clients must present a certificate signed by CN=mail.example.com",
		"client TLS pass: clients are not offered STARTTLS if the proxy uses it with the server",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("check does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(words, "heal nothing: advertise-esmtp") {
		t.Error("the greeting comes before STARTTLS")
	}
	if strings.Contains(words, "2021-01-01") || strings.Contains(words, "2099-02-01") {
		t.Errorf("the last day is told as another:\n%s", out)
	}
}
