package tlspolicy

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync"

	"smtpshim/rewrite/oneof"
)

// versions are the names of TLS versions, oldest first.
var versions = [...]struct {
	id   uint16
	name string
}{
	{tls.VersionTLS10, "1.0"},
	{tls.VersionTLS11, "1.1"},
	{tls.VersionTLS12, "1.2"},
	{tls.VersionTLS13, "1.3"},
}

// Version returns the name of a TLS version. id is its number as in crypto/tls. The name
// is "1.0" to "1.3", or "other" for any other number.
func Version(id uint16) string {
	for _, v := range versions {
		if v.id == id {
			return v.name
		}
	}
	return "other"
}

// Versions returns all names that [Version] can return, the oldest version first and
// "other" last.
func Versions() []string {
	var names []string
	for _, v := range versions {
		names = append(names, v.name)
	}
	return append(names, "other")
}

// ParseVersion returns the TLS version, as in crypto/tls, that name means: "1.0" to "1.3".
// Any other name is an error.
func ParseVersion(name string) (uint16, error) {
	for _, v := range versions {
		if v.name == name {
			return v.id, nil
		}
	}
	bare := strings.Trim(strings.ToLower(name), " v")
	if strings.HasPrefix(bare, "ssl") || bare == "2.0" || bare == "3.0" || bare == "2" || bare == "3" {
		return 0, cannot(fmt.Sprintf("%q", name))
	}
	hint := ""
	for _, v := range versions {
		if strings.HasSuffix(bare, v.name) { // such as TLSv1.2
			hint = fmt.Sprintf("; did you mean %q?", v.name)
		}
	}
	return 0, fmt.Errorf(`%q is no version of TLS; there are "1.0", "1.1", "1.2" and "1.3"%s`, name, hint)
}

// cannot returns the error for something that crypto/tls does not support.
func cannot(what string) error {
	return fmt.Errorf("%s cannot be had: Go's TLS does not have it. For a peer that knows nothing better, put a TLS of its time in front, such as stunnel with an old OpenSSL", what)
}

// A suite is a cipher suite of crypto/tls.
type suite struct {
	id    uint16
	name  string     // IANA's name
	weak  Weaknesses // weaknesses that must be allowed for it
	since uint16     // the first version with it
	aead  bool
	tls13 bool
}

// suiteTable returns all cipher suites of crypto/tls, classified by their names. It is
// computed once, because each handshake uses it.
var suiteTable = sync.OnceValue(func() []suite {
	var table []suite
	for _, c := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		s := suite{id: c.ID, name: c.Name, since: slices.Min(c.SupportedVersions)}
		s.tls13 = s.since == tls.VersionTLS13
		s.aead = strings.Contains(c.Name, "_GCM_") || strings.Contains(c.Name, "_CHACHA20_")
		for part, weakness := range map[string]Weaknesses{
			"_RC4_":         BrokenRC4,
			"_3DES_":        Broken3DES,
			"_CBC_SHA256":   LeakyCBCSHA256,
			"TLS_RSA_WITH_": RecordableRSAKeyExchange,
		} {
			if strings.Contains(c.Name, part) {
				s.weak |= weakness
			}
		}
		if c.Insecure && s.weak == 0 {
			s.weak = unnamed // a newer Go considers it insecure for an unknown reason
		}
		table = append(table, s)
	}
	return table
})

// Suite returns IANA's name of the suite with the number id, or "other" if crypto/tls does
// not support it.
func Suite(id uint16) string {
	for _, s := range suiteTable() {
		if s.id == id {
			return s.name
		}
	}
	return "other"
}

// Suites returns all names that [Suite] can return, "other" last.
func Suites() []string {
	var names []string
	for _, s := range suiteTable() {
		names = append(names, s.name)
	}
	return append(names, "other")
}

// Ciphers says which suites of TLS 1.2 and before are used. All suites of TLS 1.3 are
// good and cannot be chosen. Ciphers are one of these:
//
//   - modern, the zero value: suites with forward secrecy and authenticated encryption,
//     which are ECDHE with AES-GCM or ChaCha20
//   - legacy: also suites with ECDHE, AES-CBC and SHA-1
//   - a list of suites
//
// An [Allowance] adds to modern and legacy the suites whose weaknesses are all allowed.
// If TLS 1.0 or 1.1 is allowed, the suites with ECDHE, AES-CBC and SHA-1 are added too.
// Nothing is added to a list. A suite in a list that has a weakness is used only with
// peers with which the weakness is allowed.
type Ciphers struct {
	word string
	list []uint16
}

// ParseCiphers returns the Ciphers that words mean: the single word "modern" or "legacy",
// or IANA's names of suites before TLS 1.3. An unknown word, or none, is an error.
func ParseCiphers(words ...string) (Ciphers, error) {
	if len(words) == 1 && (words[0] == "modern" || words[0] == "legacy") {
		return Ciphers{word: words[0]}, nil
	}
	if len(words) == 0 {
		return Ciphers{}, fmt.Errorf(`no suites; it is "modern", "legacy", or a list of suites such as "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"`)
	}
	var c Ciphers
	for _, word := range words {
		id, err := parseSuite(word)
		if err != nil {
			return Ciphers{}, err
		}
		if !slices.Contains(c.list, id) {
			c.list = append(c.list, id)
		}
	}
	return c, nil
}

func parseSuite(name string) (uint16, error) {
	var names []string
	for _, s := range suiteTable() {
		switch {
		case s.name == name && s.tls13:
			return 0, fmt.Errorf("%q is a suite of TLS 1.3, among which Go leaves no choice; leave it out", name)
		case s.name == name:
			return s.id, nil
		case !s.tls13:
			names = append(names, s.name)
		}
	}
	if name == "modern" || name == "legacy" {
		return 0, fmt.Errorf("%q cannot stand in a list of suites; it stands alone", name)
	}
	// Any other name of this form is unsupported or misspelt.
	if strings.HasPrefix(name, "TLS_") || strings.HasPrefix(name, "SSL_") {
		for _, part := range []string{"_EXPORT", "_DES_", "_DES40_", "_MD5", "_DHE_", "_DH_", "_DSS_", "_anon_", "_NULL_",
			"_IDEA_", "_SEED_", "_CAMELLIA_", "_ARIA_", "_RC2_", "_PSK_", "_SRP_", "_KRB5_", "_CCM", "SSL_"} {
			if strings.Contains(name, part) {
				return 0, cannot(fmt.Sprintf("the suite %q", name))
			}
		}
	}
	return 0, fmt.Errorf("%q is no suite there is by IANA's names; there are %s%s", name, oneof.Names(names), oneof.DidYouMean(name, names))
}

// include reports whether a suite belongs to c, if the active weaknesses are allowed.
func (c Ciphers) include(s suite, active Weaknesses) bool {
	if c.list != nil {
		return slices.Contains(c.list, s.id)
	}
	return s.aead || s.weak != 0 || c.word == "legacy" || active&(ObsoleteTLS10|ObsoleteTLS11) != 0
}

// lost are suites that old peers offer and crypto/tls does not support, with their names
// for explanations (IANA's registry).
var lost = map[uint16]string{
	0x0003: "TLS_RSA_EXPORT_WITH_RC4_40_MD5",
	0x0004: "TLS_RSA_WITH_RC4_128_MD5",
	0x0006: "TLS_RSA_EXPORT_WITH_RC2_CBC_40_MD5",
	0x0008: "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA",
	0x0009: "TLS_RSA_WITH_DES_CBC_SHA",
	0x0012: "TLS_DHE_DSS_WITH_DES_CBC_SHA",
	0x0013: "TLS_DHE_DSS_WITH_3DES_EDE_CBC_SHA",
	0x0014: "TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA",
	0x0015: "TLS_DHE_RSA_WITH_DES_CBC_SHA",
	0x0016: "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA",
	0x0032: "TLS_DHE_DSS_WITH_AES_128_CBC_SHA",
	0x0033: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
	0x0038: "TLS_DHE_DSS_WITH_AES_256_CBC_SHA",
	0x0039: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA",
	0x003D: "TLS_RSA_WITH_AES_256_CBC_SHA256",
	0x0067: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256",
	0x006B: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256",
	0x009E: "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
	0x009F: "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
}

// suiteName returns the name of any suite in a peer's offer.
func suiteName(id uint16) string {
	if name, ok := lost[id]; ok {
		return name
	}
	return tls.CipherSuiteName(id)
}
