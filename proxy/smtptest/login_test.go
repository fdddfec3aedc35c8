package smtptest

import (
	"crypto/tls"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

// loginDialogue is what a provider says under TLS to the lines of a login.
func loginDialogue(t *testing.T, s Server, lines ...string) []string {
	t.Helper()
	var client *tls.Config
	s.TLS, client = testTLS(t)
	_, dial := start(t, s)
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { conn.Close() }()
	w := newWire(conn, testTimeout, "C")
	hear := func() (reply []string) {
		for {
			line, err := w.hear()
			if err != nil {
				t.Fatal(err)
			}
			if reply = append(reply, line); len(line) < 4 || line[3] != '-' {
				return reply
			}
		}
	}
	hear()
	var heard []string
	for _, line := range append([]string{"EHLO x.example.com", "STARTTLS", "EHLO x.example.com"}, lines...) {
		w.say(line)
		reply := hear()
		if line == "STARTTLS" {
			over := tls.Client(w.conn, client)
			if err := w.change(over, "TLS"); err != nil {
				t.Fatal(err)
			}
			conn = over
		}
		if len(heard) == 0 && slices.ContainsFunc(reply, func(l string) bool { return strings.Contains(l, "AUTH") }) {
			t.Errorf("AUTH is shown in clear: %q", reply)
		}
		heard = append(heard, reply...)
	}
	return heard[slices.IndexFunc(heard, func(l string) bool { return strings.Contains(l, "AUTH") }):]
}

func TestProvidersRefuseATokenInTheirOwnWay(t *testing.T) {
	said := func(token string) string {
		return base64.StdEncoding.EncodeToString([]byte("user=scanner@example.com\x01auth=Bearer " + token + "\x01\x01"))
	}
	bearer := base64.StdEncoding.EncodeToString([]byte("n,a=scanner@example.com,\x01auth=Bearer other\x01\x01"))
	const gmailSays = "334 eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ=="
	for _, test := range []struct {
		server string
		lines  []string
		want   []string // the beginnings of the last replies
	}{
		{"microsoft-365", []string{"AUTH XOAUTH2 " + said("token"), "MAIL FROM:<a@example.com>"}, []string{"235 2.7.0 Authentication successful", "250 2.1.0"}},
		{"microsoft-365", []string{"AUTH XOAUTH2", said("token")}, []string{"334 ", "235 2.7.0"}},
		{"microsoft-365", []string{"MAIL FROM:<a@example.com>", "AUTH XOAUTH2 " + said("other"), "MAIL FROM:<a@example.com>"}, []string{"530 5.7.57", "535 5.7.3", "530 5.7.57"}},
		{"microsoft-365", []string{"AUTH LOGIN", "YQ==", "cGFzc3dvcmQ="}, []string{"334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235"}},
		{"microsoft-365", []string{"AUTH PLAIN AGEAcGFzc3dvcmQ="}, []string{"504"}},
		{"gmail", []string{"AUTH XOAUTH2 " + said("token")}, []string{"235 2.7.0 Accepted"}},
		{"gmail", []string{"AUTH XOAUTH2 " + said("other"), ""}, []string{gmailSays, "535-5.7.8", "535 5.7.8"}},
		{"gmail", []string{"AUTH OAUTHBEARER " + bearer, "AQ=="}, []string{gmailSays, "535-5.7.8", "535 5.7.8"}},
		{"gmail", []string{"AUTH PLAIN AGEAd3Jvbmc=", "AUTH PLAIN AGEAcGFzc3dvcmQ="}, []string{"535-5.7.8", "535 5.7.8", "235"}},
	} {
		heard := loginDialogue(t, server(t, test.server), test.lines...)
		heard = heard[max(0, len(heard)-len(test.want)):]
		for i, want := range test.want {
			if !strings.HasPrefix(heard[i], want) {
				t.Errorf("%s: %q is answered with %q, not %q", test.server, test.lines, heard, test.want)
				break
			}
		}
	}
}

func TestADirectSenderNeedsACertificate(t *testing.T) {
	s := server(t, "direct-send")
	heard := mailUnderTLS(t, s)
	if !strings.HasPrefix(heard, "550 5.7.68") {
		t.Errorf("MAIL without a certificate is answered with %q", heard)
	}
}

// mailUnderTLS is what MAIL is answered with under TLS.
func mailUnderTLS(t *testing.T, s Server) string {
	t.Helper()
	c := client(t, "modern")
	s.TLS, c.TLS = testTLS(t)
	_, dial := start(t, s)
	return c.Deliver(dial, testMessage).NDR
}

func TestTheNTLMOfStandInsIsTheRealOne(t *testing.T) {
	// [MS-NLMP] 4.2.2.2.1, 4.2.4.2.2: the password "Password", the user "User" of "Domain".
	challenge := []byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}
	want := []byte{0x67, 0xc4, 0x30, 0x11, 0xf3, 0x02, 0x98, 0xa2, 0xad, 0x35, 0xec, 0xe6, 0x4f, 0x16, 0x33, 0x1c, 0x44, 0xbd, 0xbe, 0xd9, 0x27, 0x84, 0x1f, 0x94}
	if got := ntlmAnswer("Password", challenge); !slices.Equal(got, want) {
		t.Errorf("NTLMv1 is %x, not %x", got, want)
	}
	blob := append([]byte{1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0, 0, 0, 0, 2, 0, 12, 0}, unicode("Domain")...)
	blob = append(append(append(blob, 1, 0, 12, 0), unicode("Server")...), 0, 0, 0, 0, 0, 0, 0, 0)
	proof := []byte{0x68, 0xcd, 0x0a, 0xb8, 0x51, 0xe5, 0x1c, 0x96, 0xaa, 0xbc, 0x92, 0x7b, 0xeb, 0xef, 0x6a, 0x1c}
	for password, right := range map[string]bool{"Password": true, "password": false} {
		if got := ntlmRight(password, challenge, append(slices.Clone(proof), blob...), unicode("User"), unicode("Domain")); got != right {
			t.Errorf("NTLMv2 with %q is right: %v", password, got)
		}
	}
}
