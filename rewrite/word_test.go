package rewrite_test

import (
	"testing"

	"smtpshim/rewrite"
)

func TestAWordIsFoundOnlyIfItIsWhole(t *testing.T) {
	for text, want := range map[string]bool{
		"":                             false,
		"ESMTP":                        true,
		"esmtp":                        true,
		"ESMT":                         false,
		"220 mail.example.com ESMTP":   true,
		"mail.example.com (ESmtp) 1.0": true,
		"mail-ESMTP/2":                 true,
		"ESMTPS":                       false,
		"XESMTP":                       false,
		"ESMTP2 ESMTPS ESMTP,":         true,
		"ESMTPESMTP":                   false,
		"\x00ESMTP\x00":                true,
		"éESMTP":                       false, // é is a letter too
		"ESMTPé":                       false,
		"ESMTP\xff":                    false,
		"\x7fESMTP\r\n":                true,
	} {
		if got := rewrite.HasWord(text, "ESMTP"); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
		if got := rewrite.HasWord([]byte(text), "ESMTP"); got != want {
			t.Errorf("octets of %q: %v, want %v", text, got, want)
		}
	}
}
