package rewrite_test

import (
	"testing"

	"smtpshim/rewrite"
)

func TestTheArgumentIsWhatFollowsTheVerb(t *testing.T) {
	for line, want := range map[string]string{
		"EHLO client.example.com": "client.example.com", " EHLO\tclient.example.com ": "client.example.com",
		"EHLO=client.example.com": "client.example.com", "EHLO:client.example.com": "client.example.com", "EHLO: client.example.com": "client.example.com",
		"AUTH:NTLM x": "NTLM x", "MAIL FROM:<a@example.com>": "FROM:<a@example.com>", "VRFY a:b": "a:b", "QUIT": "", "": "",
	} {
		if got := string(rewrite.Argument([]byte(line))); got != want {
			t.Errorf("the argument of %q is %q, want %q", line, got, want)
		}
	}
}
