package config

import (
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpshim/cmd/smtpshim/internal/config/configtest"
	"smtpshim/proxy/tlspolicy"
)

func TestWhatTheFileSaysOfTLSIsInForce(t *testing.T) {
	configtest.Dir(t, "testdata")
	c := mustRead(t, "tls-everything.toml")
	in, old, anybody := c.Routes[0], c.Routes[1], c.Routes[2]
	allowed := []tlspolicy.Allowance{
		{Weaknesses: tlspolicy.ObsoleteTLS10 | tlspolicy.Broken3DES | tlspolicy.RecordableRSAKeyExchange, RefuseAfter: true,
			Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::7/128")},
			Until:    time.Date(2099, 2, 1, 0, 0, 0, 0, time.Local).Add(-1)},
		{Weaknesses: tlspolicy.ObsoleteTLS11, Until: time.Date(2021, 1, 1, 0, 0, 0, 0, time.Local).Add(-1)},
	}
	for what, same := range map[string]bool{
		"our own making":   len(in.Client.Store.Infos()) == 2 && in.Client.SelfSigned == "state/in",
		"names":            slices.Equal(in.Client.Store.Infos()[0].Names, []string{"mail.example.com", "192.0.2.1"}),
		"asked":            in.Client.ClientRoots != nil && !in.Client.RequireCertificate,
		"weak":             reflect.DeepEqual(in.Client.Allow, allowed),
		"pins":             len(in.Server.Pins) == 1 && in.Server.Pins[0][15] == 0xFF,
		"our certificate":  len(in.Server.Store.Infos()) == 1,
		"minimum":          in.Server.Minimum == 0x304,
		"two certificates": len(old.Client.Store.Infos()) == 2,
		"required":         old.Client.RequireCertificate,
		"maximum":          old.Client.Maximum == 0x303,
		"ciphers":          len(old.Client.Acceptor.Config(netip.Addr{}).CipherSuites) == 1,
		"any name":         old.Server.Allow[0].Weaknesses.Has(tlspolicy.AnyName),
		"opportunistic":    anybody.Server.Verification == tlspolicy.Opportunistic && anybody.Server.Dialer.Config("").MinVersion == 0x301,
		"none":             anybody.Client == nil && anybody.ClientTLS.Acceptor == nil,
	} {
		if !same {
			t.Errorf("%s is not as the file says", what)
		}
	}
}

func TestCertificatesOfOurOwnMakingStay(t *testing.T) {
	configtest.Dir(t, "testdata")
	made := func() (list []tlspolicy.Pin) {
		for _, info := range mustRead(t, "tls-everything.toml").Routes[0].Client.Store.Infos() {
			list = append(list, info.Fingerprint)
		}
		return list
	}
	first := made()
	if second := made(); !slices.Equal(first, second) {
		t.Errorf("%v became %v", first, second)
	}
}

func TestAPinIsTakenAsOpenSSLPrintsIt(t *testing.T) {
	const colons = "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF"
	configtest.Dir(t, "testdata")
	for _, text := range []string{
		colons, strings.ToLower(colons), strings.ReplaceAll(colons, ":", ""),
		"sha256 Fingerprint=" + colons, "SHA256 Fingerprint=" + colons, "SHA256 FINGERPRINT = " + strings.ToLower(colons),
	} {
		write(t, "pin.toml", "[[route]]\nname = \"in\"\nlisten = [\"127.0.0.1:2525\"]\nservers = [\"192.0.2.1:25\"]\n"+
			"server_tls = {mode = \"require\", pins = [\""+text+"\"]}\n")
		c, err := Read("pin.toml", tlspolicy.SelfSigned)
		if err != nil || c.Routes[0].Server.Pins[0].String() != colons {
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
