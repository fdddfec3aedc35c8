package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"

	"smtpshim/proxy"
	"smtpshim/rewrite"
)

// readClientTLS reads [route.client_tls]. Each route gets a configuration made
// for it alone: one that was cloned would share its session tickets.
func readClientTLS(t *table) proxy.ClientTLS {
	defer t.done()
	mode := rewrite.ClientTLSPass
	known := t.word("mode", &mode)
	certificate, key := t.text("certificate", ""), t.text("key", "")
	if !known {
		return proxy.ClientTLS{}
	}
	if mode == rewrite.ClientTLSPass || mode == rewrite.ClientTLSHide {
		t.unused("certificate", certificate != "", mode, `"offer", "require" and "implicit"`)
		t.unused("key", key != "", mode, `"offer", "require" and "implicit"`)
		return proxy.ClientTLS{Mode: mode}
	}
	for name, path := range map[string]string{"certificate": certificate, "key": key} {
		if _, isText := t.values[name].(string); path == "" && (isText || !t.has(name)) {
			t.wrong(name, "is missing; mode %q needs a certificate and its key, each the name of a PEM file", mode)
		}
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	certPEM, okCert := t.file("certificate", certificate)
	keyPEM, okKey := t.file("key", key)
	if okCert && okKey {
		pair, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			t.wrong("certificate", "%q and %q are no certificate with its key: %v", certificate, key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return proxy.ClientTLS{Mode: mode, Config: c}
}

// readServerTLS reads [route.server_tls].
func readServerTLS(t *table) proxy.ServerTLS {
	defer t.done()
	mode := rewrite.ServerTLSOff
	known := t.word("mode", &mode)
	verify, name, ca := t.boolean("verify", true), t.text("server_name", ""), t.text("ca", "")
	if !known {
		return proxy.ServerTLS{}
	}
	verified := mode == rewrite.ServerTLSRequire || mode == rewrite.ServerTLSImplicit
	if !verified {
		t.unused("verify", !verify, mode, `"require" and "implicit"`)
		t.unused("ca", ca != "", mode, `"require" and "implicit"`)
	}
	if mode == rewrite.ServerTLSOff {
		t.unused("server_name", name != "", mode, `"opportunistic", "require" and "implicit"`)
		return proxy.ServerTLS{Mode: mode}
	}
	if name != "" && !hostName.MatchString(name) {
		t.wrong("server_name", "%q is no name of a host", name)
	}
	if verified && !verify && ca != "" {
		t.wrong("ca", "verify = false does not use it; leave one of the two out")
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name, InsecureSkipVerify: verified && !verify}
	if pem, ok := t.file("ca", ca); ok {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			t.wrong("ca", "there is no certificate in %q; a PEM file of one or more is wanted", ca)
		}
	}
	return proxy.ServerTLS{Mode: mode, Config: c}
}

// unused notes a key that says something its mode does not listen to.
func (t *table) unused(key string, given bool, mode fmt.Stringer, modes string) {
	if given {
		t.wrong(key, "mode %q does not use it; %s do", mode, modes)
	}
}

// file reads the file that key names, if it names one; a relative name starts
// where the configuration file is.
func (t *table) file(key, name string) ([]byte, bool) {
	if name == "" {
		return nil, false
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(t.source.path), name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.wrong(key, "%v", err)
	}
	return text, err == nil
}
