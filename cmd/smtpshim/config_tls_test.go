package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpshim/metrics"
	"smtpshim/proxy/tlspolicy"
)

func TestWhatTheFileSaysOfTLSIsInForce(t *testing.T) {
	configDir(t)
	c := mustRead(t, "tls-everything.toml")
	in, old, anybody := c.routes[0], c.routes[1], c.routes[2]
	allowed := []tlspolicy.Allowance{
		{Weaknesses: tlspolicy.ObsoleteTLS10 | tlspolicy.Broken3DES | tlspolicy.RecordableRSAKeyExchange, RefuseAfter: true,
			Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::7/128")},
			Until:    time.Date(2099, 2, 1, 0, 0, 0, 0, time.Local).Add(-1)},
		{Weaknesses: tlspolicy.ObsoleteTLS11, Until: time.Date(2021, 1, 1, 0, 0, 0, 0, time.Local).Add(-1)},
	}
	for what, same := range map[string]bool{
		"our own making":   len(in.client.Store.Infos()) == 2 && in.client.selfSigned == "state/in",
		"names":            slices.Equal(in.client.Store.Infos()[0].Names, []string{"mail.example.com", "192.0.2.1"}),
		"asked":            in.client.ClientRoots != nil && !in.client.RequireCertificate,
		"weak":             reflect.DeepEqual(in.client.Allow, allowed),
		"pins":             len(in.server.Pins) == 1 && in.server.Pins[0][15] == 0xFF,
		"our certificate":  len(in.server.Store.Infos()) == 1,
		"minimum":          in.server.Minimum == 0x304,
		"two certificates": len(old.client.Store.Infos()) == 2,
		"required":         old.client.RequireCertificate,
		"maximum":          old.client.Maximum == 0x303,
		"ciphers":          len(old.client.acceptor.Config(netip.Addr{}).CipherSuites) == 1,
		"any name":         old.server.Allow[0].Weaknesses.Has(tlspolicy.AnyName),
		"opportunistic":    anybody.server.Verification == tlspolicy.Opportunistic && anybody.server.dialer.Config("").MinVersion == 0x301,
		"none":             anybody.client == nil && anybody.ClientTLS.Acceptor == nil,
	} {
		if !same {
			t.Errorf("%s is not as the file says", what)
		}
	}
}

func TestEverythingThatMayBeSpokenIsCountedFromTheBeginning(t *testing.T) {
	configDir(t)
	c := mustRead(t, "tls-everything.toml")
	in, anybody := possibleTLS(c.routes[0]), possibleTLS(c.routes[2])
	for _, cipher := range []metrics.Cipher{
		{Version: "1.0", Suite: "TLS_RSA_WITH_3DES_EDE_CBC_SHA"}, // with some networks only
		{Version: "1.1", Suite: "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"},
		{Version: "1.3", Suite: "TLS_AES_128_GCM_SHA256"},
	} {
		if !slices.Contains(in.Client, cipher) {
			t.Errorf("%v is not counted", cipher)
		}
	}
	for _, cipher := range in.Server {
		if cipher.Version != "1.3" {
			t.Errorf("%v is counted with a server that must speak 1.3", cipher)
		}
	}
	if !slices.Contains(anybody.Server, metrics.Cipher{Version: "1.0", Suite: "TLS_RSA_WITH_RC4_128_SHA"}) || len(anybody.Client) != 0 {
		t.Errorf("%v", anybody)
	}
}

func TestCertificatesOfOurOwnMakingStay(t *testing.T) {
	configDir(t)
	made := func() (list []tlspolicy.Pin) {
		for _, info := range mustRead(t, "tls-everything.toml").routes[0].client.Store.Infos() {
			list = append(list, info.Fingerprint)
		}
		return list
	}
	first := made()
	if second := made(); !slices.Equal(first, second) {
		t.Errorf("%v became %v", first, second)
	}
	if _, out, _ := call("check", "-config", "tls-everything.toml"); !strings.Contains(out, hexadecimal(first[0])) || !strings.Contains(out, hexadecimal(first[1])) {
		t.Errorf("check does not have their fingerprints:\n%s", out)
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
	const costs = "costs after STARTTLS nothing can be read, and these rules heal nothing: join-data-reply, no-valid-recipients, one-auth-line, translate-xauth"
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
		"WEAK obsolete-tls-1.1 with everybody, until 2020-12-31, then warned of but still in force",
		"WARNING client_tls: WEAK TLS is allowed: obsolete-tls-1.0, broken-3des, recordable-rsa-key-exchange with clients in 192.0.2.0/24",
		"WARNING client_tls: obsolete-tls-1.1: allowed until 2020-12-31",
		"WARNING server_tls: WEAK TLS is allowed: obsolete-tls-1.0, broken-rc4, any-name-in-certificates with the server, for ever",
		"the certificate must be one that is pinned versions TLS 1.3 ciphers those of TLS 1.3 pin 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
		"EXPIRED", "days left",
		"client CA clients have to show a certificate signed by CN=mail.example.com",
		"client TLS pass: clients are not offered STARTTLS where it is said to the server",
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

func TestAPinIsTakenAsOpenSSLPrintsIt(t *testing.T) {
	const colons = "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF"
	configDir(t)
	for _, text := range []string{
		colons, strings.ToLower(colons), strings.ReplaceAll(colons, ":", ""),
		"sha256 Fingerprint=" + colons, "SHA256 Fingerprint=" + colons, "SHA256 FINGERPRINT = " + strings.ToLower(colons),
	} {
		write(t, "pin.toml", "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"192.0.2.1:25\"]\n"+
			"server_tls = {mode = \"require\", pins = [\""+text+"\"]}\n")
		c, err := readConfig("pin.toml", tlspolicy.SelfSigned)
		if err != nil || c.routes[0].server.Pins[0].String() != colons {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestADayIsOverAtItsEnd(t *testing.T) {
	for _, text := range []string{`until = 2027-01-31`, `until = "2027-01-31"`} {
		path := filepath.Join(t.TempDir(), "day.toml")
		write(t, path, text+"\n")
		root, err := openSource(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := root.lastMoment("until"), time.Date(2027, 2, 1, 0, 0, 0, 0, time.Local).Add(-1); !got.Equal(want) || len(root.wrongs()) > 0 {
			t.Errorf("%s: %v, %v; want %v", text, got, root.wrongs(), want)
		}
	}
}
