package rewrite_test

import (
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
