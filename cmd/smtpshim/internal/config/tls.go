package config

import (
	"errors"
	"fmt"
	"strings"

	"smtpshim/proxy"
	"smtpshim/proxy/tlspolicy"
	"smtpshim/rewrite"
)

// readClientTLS reads [route.client_tls]. Each route gets an acceptor of its own. Routes
// with a common acceptor would accept each other's session tickets.
func readClientTLS(t *table, own ownCertificates) (proxy.ClientTLS, *ClientLeg) {
	defer t.done()
	mode := rewrite.ClientTLSPass
	known := t.word("mode", &mode)
	leg := &ClientLeg{ClientLeg: tlspolicy.ClientLeg{Protocol: t.protocol("networks")}}
	certificates := t.identities()
	names := t.texts("names")
	var asked clientCertificate
	t.word("client_certificate", &asked)
	authorities := t.paths("client_ca")
	if !known {
		return proxy.ClientTLS{}, nil
	}
	if mode == rewrite.ClientTLSPass || mode == rewrite.ClientTLSHide {
		t.unused(mode, `"offer", "require" and "implicit"`, "certificate", "key", "pkcs12", "password_file", "names",
			"minimum", "maximum", "ciphers", "weak", "client_ca", "client_certificate")
		return proxy.ClientTLS{Mode: mode}, nil
	}
	if certificates.selfSigned {
		leg.SelfSigned = own.dir()
		leg.Store = t.selfSigned(own, names)
	} else {
		if len(names) > 0 {
			t.wrong("names", `only certificate = "self-signed" uses it; other certificates have their names in them`)
		}
		if leg.Store = t.store(certificates.sources); !t.says("certificate") && !t.says("pkcs12") {
			t.follows([]string{"certificate", "pkcs12"}, "certificate", `is missing; mode %q needs one: the name of a PEM file, or "self-signed"`, mode)
			if !t.says("key") {
				t.follows([]string{"key", "pkcs12"}, "key", "is missing; it goes with the certificate: the name of a PEM file, which may be the same")
			}
		}
	}
	leg.ClientRoots, leg.RequireCertificate = t.roots("client_ca", authorities), asked == "require"
	if asked == "ask" && !t.says("client_ca") {
		t.follows(nil, "client_ca", "is missing: the authorities that sign the certificates of clients")
	}
	var err error
	if leg.Acceptor, err = tlspolicy.NewAcceptor(leg.ClientLeg); err != nil {
		t.settings(err, leg.Store != nil, leg.Allow, func(a tlspolicy.Allowance) error {
			one := leg.ClientLeg
			one.Allow = []tlspolicy.Allowance{a}
			_, err := tlspolicy.NewAcceptor(one)
			return err
		})
		return proxy.ClientTLS{}, nil
	}
	return proxy.ClientTLS{Mode: mode, Acceptor: leg.Acceptor}, leg
}

// readServerTLS reads [route.server_tls].
func readServerTLS(t *table) (proxy.ServerTLS, *ServerLeg) {
	defer t.done()
	mode := rewrite.ServerTLSOff
	known := t.word("mode", &mode)
	leg := &ServerLeg{ServerLeg: tlspolicy.ServerLeg{Protocol: t.protocol(""), ServerName: t.text("server_name", "")}}
	t.word("key_exchange", &leg.KeyExchange)
	verify, authorities, certificates := t.boolean("verify", true), t.paths("ca"), t.identities()
	var clear rewrite.ClearLogin
	t.word("auth_in_clear", &clear)
	for _, text := range t.oneOrMore("pins") {
		pin, err := tlspolicy.ParsePin(digits(text))
		if err != nil {
			t.wrong("pins", "%v", err)
		}
		leg.Pins = append(leg.Pins, pin)
	}
	if !known {
		return proxy.ServerTLS{}, nil
	}
	verifies := mode == rewrite.ServerTLSRequire || mode == rewrite.ServerTLSImplicit
	useless := !verifies && t.unused(mode, `"require" and "implicit"`, "verify", "ca", "pins")
	switch {
	case mode == rewrite.ServerTLSOff:
		t.unused(mode, `"opportunistic", "require" and "implicit"`, "server_name", "auth_in_clear",
			"certificate", "key", "pkcs12", "password_file", "minimum", "maximum", "ciphers", "key_exchange", "weak")
		return proxy.ServerTLS{Mode: mode}, nil
	case useless:
		return proxy.ServerTLS{}, nil
	case !verifies:
		leg.Verification = tlspolicy.Opportunistic
	case !verify:
		leg.Verification = tlspolicy.Unverified
	}
	if leg.ServerName != "" && !hostName.MatchString(leg.ServerName) {
		t.wrong("server_name", "%q is no name of a host", leg.ServerName)
	}
	leg.Roots = t.roots("ca", authorities)
	if certificates.selfSigned {
		t.wrong("certificate", `"self-signed" is for clients; a server that asks for a certificate must know it beforehand`)
	} else {
		leg.Store = t.store(certificates.sources)
	}
	var err error
	if leg.Dialer, err = tlspolicy.NewDialer(leg.ServerLeg); err != nil {
		t.settings(err, true, leg.Allow, func(a tlspolicy.Allowance) error {
			one := leg.ServerLeg
			one.Allow = []tlspolicy.Allowance{a}
			_, err := tlspolicy.NewDialer(one)
			return err
		})
		return proxy.ServerTLS{}, nil
	}
	return proxy.ServerTLS{Mode: mode, Dialer: leg.Dialer, Verified: leg.Verification == tlspolicy.Verified, ClearLogin: clear}, leg
}

// digits returns a fingerprint without the name that openssl x509 prints before it:
// "sha256 Fingerprint=", or "SHA256 Fingerprint=" before OpenSSL 3.
func digits(fingerprint string) string {
	name, rest, named := strings.Cut(fingerprint, "=")
	if named && strings.EqualFold(strings.TrimSpace(name), "sha256 fingerprint") {
		return rest
	}
	return fingerprint
}

// A clientCertificate says whether clients must show a certificate.
type clientCertificate string

func (c *clientCertificate) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	return chooseWord(c, text, "ask", "require")
}

// settings reports the mistakes that tlspolicy finds. A mistake in one allowance, which
// alone finds, is reported at that allowance. A mistake in the certificates is reported
// only if they could be read.
func (t *table) settings(err error, read bool, allow []tlspolicy.Allowance, alone func(tlspolicy.Allowance) error) {
	for i, a := range allow {
		for _, e := range settingErrors(alone(a)) {
			if e.Setting == "allow" {
				weak := *t
				weak.path, weak.name = item(join(t.path, "weak"), i), join(t.name, "weak")
				weak.wrong("allow", "%v", e.Err)
			}
		}
	}
	for _, e := range settingErrors(err) {
		key := e.Setting
		switch {
		case key == "allow" || key == "certificate" && !read:
			continue
		case key == "certificate" && !t.says(key):
			key = "pkcs12"
		}
		t.wrong(key, "%v", e.Err)
	}
}

// settingErrors returns the errors that were joined into err.
func settingErrors(err error) (list []*tlspolicy.SettingError) {
	for _, err := range each(err) {
		if e, ok := errors.AsType[*tlspolicy.SettingError](err); ok {
			list = append(list, e)
		}
	}
	return list
}

// says reports whether a key has a value other than "", [] and true.
func (t *table) says(key string) bool {
	switch v := t.values[key].(type) {
	case nil:
		return false
	case string:
		return v != ""
	case bool:
		return !v
	case []any:
		return len(v) > 0
	}
	return true
}

// unused reports keys that have no effect in this mode. found reports whether there was
// one.
func (t *table) unused(mode fmt.Stringer, modes string, keys ...string) (found bool) {
	for _, key := range keys {
		if t.says(key) {
			t.wrong(key, "mode %q does not use it; %s do", mode, modes)
			found = true
		}
	}
	return found
}
