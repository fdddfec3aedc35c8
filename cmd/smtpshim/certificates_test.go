package main

import (
	"slices"
	"testing"

	"smtpshim/metrics"
)

func TestEverythingThatMayBeSpokenIsCountedFromTheBeginning(t *testing.T) {
	configDir(t)
	c := mustRead(t, "tls-everything.toml")
	in, anybody := possibleTLS(c.Routes[0]), possibleTLS(c.Routes[2])
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
