// Package tlspolicy decides which TLS may be used with which peer, and makes the
// configurations of crypto/tls for it.
//
// There are two legs. An [Acceptor] is our side towards clients, where we are the TLS
// server. A [Dialer] is our side towards servers, where we are the TLS client. Both begin
// with modern TLS: 1.2 and 1.3, with forward secrecy and authenticated encryption.
// Anything weaker is one of the [Weaknesses]. Each has a name that says what is wrong
// with it, and must be allowed by an [Allowance], which may be limited to some clients
// and to a date.
//
// Our certificates are in a [Store], which follows their files. [Explain] explains a
// failed handshake: what the peer showed, and what would have been right.
//
// All settings of crypto/tls are made in code, with one exception for which there is no
// other switch: the program sets x509negativeserial=1 of GODEBUG. Switches of GODEBUG
// hold for a whole process, and most of those about TLS end with Go 1.27.
//
// What crypto/tls does not support cannot be allowed: SSL 2.0 and 3.0 and their hello,
// export suites, single DES, RC4 with MD5, key exchange by Diffie-Hellman over integers
// (DHE), keys for DSA, and RSA keys of less than 1024 bits. Peers that need one of these
// need an old implementation of TLS in front of them, such as stunnel with an old
// OpenSSL.
package tlspolicy

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// A Protocol says which TLS versions and cipher suites may be used on one leg. The zero
// value is modern TLS: 1.2 and 1.3, with forward secrecy and authenticated encryption.
type Protocol struct {
	// Minimum and Maximum are the oldest and the newest version, by their numbers in
	// crypto/tls, as [ParseVersion] returns them. 0 means 1.2 for Minimum and 1.3 for
	// Maximum. A version below 1.2 is used only with peers for which an Allowance
	// allows it. With these peers it is used even if Minimum is newer. To set a version
	// below 1.2 that no Allowance allows is a mistake. An opportunistic leg differs:
	// see [ServerLeg].
	Minimum, Maximum uint16

	Ciphers Ciphers
	Allow   []Allowance
}

// A SettingError is a mistake in a setting. Setting is the name that the setting has in
// a configuration: minimum, maximum, ciphers, allow, certificate, client_ca, ca or
// pins. [NewAcceptor] and [NewDialer] join one for each mistake.
type SettingError struct {
	Setting string
	Err     error
}

func (e *SettingError) Error() string { return e.Setting + ": " + e.Err.Error() }
func (e *SettingError) Unwrap() error { return e.Err }

func wrong(setting, format string, args ...any) error {
	return &SettingError{setting, fmt.Errorf(format, args...)}
}

// terms are the versions and suites for one peer.
type terms struct {
	minimum, maximum uint16
	suites           []uint16 // for TLS 1.2 and before
	active           Weaknesses
}

// terms returns the terms for a peer with which these weaknesses are allowed.
func (p Protocol) terms(active Weaknesses) terms {
	t := terms{
		minimum: cmp.Or(p.Minimum, tls.VersionTLS12),
		maximum: cmp.Or(p.Maximum, tls.VersionTLS13),
		suites:  []uint16{}, // nil would mean the default of crypto/tls
		active:  active,
	}
	switch {
	case active.Has(ObsoleteTLS10):
		t.minimum = tls.VersionTLS10
	case active.Has(ObsoleteTLS11):
		t.minimum = tls.VersionTLS11
	default:
		t.minimum = max(t.minimum, tls.VersionTLS12)
	}
	for _, s := range suiteTable() {
		if !s.tls13 && active.Has(s.weak) && p.Ciphers.include(s, active) {
			t.suites = append(t.suites, s.id)
		}
	}
	if len(t.suites) == 0 && t.maximum == tls.VersionTLS13 {
		t.minimum = tls.VersionTLS13
	}
	return t
}

// config returns a new configuration. A clone would share the keys of its session
// tickets.
func (t terms) config() *tls.Config {
	return &tls.Config{MinVersion: t.minimum, MaxVersion: t.maximum, CipherSuites: t.suites}
}

// version returns the newest version that these terms and a peer have in common; 0: none.
func (t terms) version(offered []uint16) uint16 {
	best := uint16(0)
	for _, v := range offered {
		if v >= t.minimum && v <= t.maximum {
			best = max(best, v)
		}
	}
	return best
}

// known returns all weaknesses that any allowance allows.
func (p Protocol) known() Weaknesses {
	var all Weaknesses
	for _, a := range p.Allow {
		all |= a.Weaknesses
	}
	return all
}

// active returns the weaknesses that are allowed with a peer now.
func (p Protocol) active(peer netip.Addr, now time.Time) Weaknesses {
	var w Weaknesses
	for _, a := range p.Allow {
		if a.covers(peer) && a.inForce(now) {
			w |= a.Weaknesses
		}
	}
	return w
}

// check reports contradictions in the settings.
func (p Protocol) check() error {
	var errs []error
	known := p.known()
	for _, v := range []struct {
		setting string
		version uint16
	}{{"minimum", p.Minimum}, {"maximum", p.Maximum}} {
		need := versionWeakness(v.version)
		if need != 0 && !known.Has(need) && !known.Has(ObsoleteTLS10) {
			errs = append(errs, wrong(v.setting, "TLS %s is below 1.2; it needs %s among what is allowed", Version(v.version), need))
		}
	}
	maximum := cmp.Or(p.Maximum, tls.VersionTLS13)
	if p.Minimum > maximum {
		errs = append(errs, wrong("minimum", "TLS %s is above the maximum, %s", Version(p.Minimum), Version(maximum)))
	}
	usable := 0
	for _, s := range suiteTable() {
		if !slices.Contains(p.Ciphers.list, s.id) {
			continue
		}
		if missing := s.weak &^ known; missing != 0 {
			errs = append(errs, wrong("ciphers", "%s needs %s among what is allowed", s.name, missing))
		}
		if maximum >= s.since {
			usable++
		}
	}
	if len(p.Ciphers.list) > 0 && usable == 0 && maximum < tls.VersionTLS13 {
		errs = append(errs, wrong("ciphers", "none of these can be used in TLS %s, the maximum; all came with 1.2", Version(maximum)))
	}
	for _, a := range p.Allow {
		for _, n := range a.Networks {
			if !n.IsValid() {
				errs = append(errs, wrong("allow", "a network that is none for %s", a.Weaknesses))
			}
		}
	}
	return errors.Join(errs...)
}

// warnings returns texts about allowances that end soon or have ended.
func (p Protocol) warnings(now time.Time) []string {
	var texts []string
	for _, a := range p.Allow {
		if text := a.warning(now); text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

func versionWeakness(v uint16) Weaknesses {
	switch v {
	case tls.VersionTLS10:
		return ObsoleteTLS10
	case tls.VersionTLS11:
		return ObsoleteTLS11
	}
	return 0
}
