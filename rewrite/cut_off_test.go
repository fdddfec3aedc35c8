package rewrite_test

import (
	"bytes"
	"testing"

	"smtpshim/rewrite"
	"smtpshim/rewrite/heal"
)

// A server has hung up behind these octets. Only a refusal is one without its line end.
func TestOnlyARefusalNeedsNoLineEnd(t *testing.T) {
	rules, errs := heal.Compile([]string{"standard"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	for octets, want := range map[string]string{
		"550 no":                      "550 no\r\n",
		"550":                         "550 \r\n",
		"550-a\r\n550 no":             "550-a\r\n550 no\r\n",
		"550-a\n550no":                "550-a\r\n550 no\r\n",
		"421 4.3.2 bye\r":             "421 4.3.2 bye\r\n",
		"451  two blanks":             "451  two blanks\r\n",
		"55":                          "",
		"550-no":                      "", // more was to come
		"5500":                        "",
		"550-a\r\n250 ok":             "",
		"250-a\r\n550 no":             "",
		"550-a\r\n450 no":             "",
		"550 no\r250 ok":              "",
		"550 no\r\n550 no":            "", // two replies
		"250 ok":                      "",
		"250":                         "",
		"354 go ahead":                "",
		"221 bye":                     "",
		"no mail for you":             "",
		"550-a\r\nno mail for you":    "",
		"550-a\r\n550-b\r\n550-c\r\n": "",
	} {
		k := talkUnder(t, &rewrite.Policy{Rules: rules})
		k.client("NOOP", "NOOP", "")
		n, made, ok := k.d.RepairCutOff([]byte(octets))
		if ok != (want != "") || ok && (string(made) != want || n != len(octets)) {
			t.Errorf("%q: %d octets become %q, %v, not %q", octets, n, made, ok, want)
		}
		if len(k.broke) > 0 {
			t.Errorf("%q: %q", octets, k.broke)
		}
	}
}

// One connection that is lost may not cost TLS: EHLO is said once more, not HELO.
func TestARefusalOfEHLOWithoutALineEndIsALoss(t *testing.T) {
	rules, errs := heal.Compile([]string{"standard"}, nil)
	if errs != nil {
		t.Fatal(errs)
	}
	k := talkUnder(t, &rewrite.Policy{Rules: rules, ServerTLS: rewrite.ServerTLSOpportunistic})
	k.client("EHLO client.example.net", "EHLO client.example.net", "")
	for _, octets := range []string{"502 no", "454 no", "550-a\r\n550 no"} {
		if _, made, ok := k.d.RepairCutOff([]byte(octets)); ok {
			t.Errorf("%q becomes %q", octets, made)
		}
	}
}

// Whatever a server has said before it hung up, no yes comes of it, and a refusal has a
// code that was said.
func FuzzACutOffReplyIsNoYes(f *testing.F) {
	for _, seed := range []string{"550 no", "550-a\n550b", "250 ok", "25", "\r\n550", "550 no\r250 ok", "250-a\r\n550 no", "554-a\r\n\r\n554 b", "\xff550\x00"} {
		f.Add([]byte(seed))
	}
	rules, errs := heal.Compile([]string{"standard"}, nil)
	if errs != nil {
		f.Fatal(errs)
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		k := talkUnder(t, &rewrite.Policy{Rules: rules})
		k.client("RCPT TO:<b@example.net>", "RCPT TO:<b@example.net>", "")
		if scan, err := rewrite.ScanReply(octets); err == nil && scan.N > 0 {
			return // a whole reply is taken as it is
		}
		n, made, ok := k.d.RepairCutOff(octets)
		if !ok || len(made) == 0 {
			return
		}
		if len(k.broke) > 0 || n > len(octets) {
			t.Fatalf("%q: %d octets, %q", octets, n, k.broke)
		}
		if scan, err := rewrite.ScanReply(made); err != nil || scan.N != len(made) || scan.Mixed {
			t.Fatalf("%q becomes %q, which is not one reply", octets, made)
		}
		if !bytes.Contains(octets, made[:3]) {
			t.Fatalf("%q becomes %q", octets, made)
		}
		if octets[len(octets)-1] != '\n' && n == len(octets) && made[0] < '4' {
			t.Fatalf("%q becomes %q, a yes", octets, made)
		}
	})
}
