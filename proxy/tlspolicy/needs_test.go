package tlspolicy

import (
	"crypto/tls"
	"testing"
)

func TestNeedsSaysWhatAVersionAndASuiteTake(t *testing.T) {
	for _, test := range []struct {
		version, suite uint16
		weak           string
		legacy         bool
	}{
		{tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256, "", false},
		{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "", false},
		{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, "", true},
		{tls.VersionTLS12, tls.TLS_RSA_WITH_AES_128_CBC_SHA, "recordable-rsa-key-exchange", false},
		{tls.VersionTLS10, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, "obsolete-tls-1.0", false},
		{tls.VersionTLS10, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, "obsolete-tls-1.0, broken-3des, recordable-rsa-key-exchange", false},
		{tls.VersionTLS11, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, "obsolete-tls-1.1, broken-rc4", false},
	} {
		weak, legacy := Needs(test.version, test.suite)
		if weak.String() != test.weak || legacy != test.legacy {
			t.Errorf("Needs(%s, %s) = %q, %v", Version(test.version), Suite(test.suite), weak, legacy)
		}
		if !OfProtocol().Has(weak) {
			t.Errorf("%s is not of the protocol", weak)
		}
	}
}
