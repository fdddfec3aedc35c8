package tlspolicy

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"smtpshim/rewrite/oneof"
)

// Weaknesses is a set of weaknesses that TLS or a certificate can have. Modern TLS has
// none. The name of a weakness says what is wrong. Whoever allows the weakness must
// write that name.
type Weaknesses uint16

// The weaknesses. Those about certificates apply to certificates that we verify: those
// of servers, and those of clients if we ask for them. ForgeableSHA1Certificates and
// BreakableShortRSA also apply to our own: a certificate of ours with such a weakness
// is shown only to clients with which it is allowed.
const (
	ObsoleteTLS10 Weaknesses = 1 << iota
	ObsoleteTLS11
	BrokenRC4
	Broken3DES
	LeakyCBCSHA256
	RecordableRSAKeyExchange
	ForgeableSHA1Certificates
	BreakableShortRSA
	ExpiredCertificates // certificates past their end; only those of servers
	AnyName             // certificates for any name; only those of servers

	unnamed Weaknesses = math.MaxUint16 // what can never be allowed
)

// ofProtocol is the set of weaknesses of versions and suites.
const ofProtocol = ObsoleteTLS10 | ObsoleteTLS11 | BrokenRC4 | Broken3DES | LeakyCBCSHA256 | RecordableRSAKeyExchange

// forServers is the set of weaknesses that only the leg to servers can have.
// ofCertificates is the set of weaknesses of certificates that we verify.
const (
	forServers     = ExpiredCertificates | AnyName
	ofCertificates = ForgeableSHA1Certificates | BreakableShortRSA | forServers
)

var weaknessTable = [...]struct {
	weakness  Weaknesses
	name, doc string
}{
	{ObsoleteTLS10, "obsolete-tls-1.0", "TLS 1.0 and 1.1: signatures and records rest on MD5 and SHA-1; withdrawn in 2021 (RFC 8996). Brings the suites with ECDHE and CBC with it: there are no better ones before 1.2."},
	{ObsoleteTLS11, "obsolete-tls-1.1", "TLS 1.1: as 1.0 (RFC 8996)."},
	{BrokenRC4, "broken-rc4", "suites with RC4: whoever records enough of its key stream can read the text (RFC 7465)."},
	{Broken3DES, "broken-3des", "suites with 3DES: blocks of 64 bits repeat within some gigabytes of one session (CVE-2016-2183, Sweet32)."},
	{LeakyCBCSHA256, "leaky-cbc-sha256", "suites with CBC and SHA-256: Go's TLS does not hide how long their padding takes to check (CVE-2013-0169, Lucky 13)."},
	{RecordableRSAKeyExchange, "recordable-rsa-key-exchange", "suites whose key is sent under the certificate's RSA key: no forward secrecy. Who records today and gets the key later reads it all."},
	{ForgeableSHA1Certificates, "forgeable-sha1-certificates", "certificates signed with SHA-1: a second one with the same signature can be made (RFC 9155)."},
	{BreakableShortRSA, "breakable-short-rsa", "certificates with RSA keys of 1024 to 2047 bits: within reach of whoever can afford it (NIST SP 800-131A)."},
	{ExpiredCertificates, "expired-certificates", "certificates of servers past their date: verified as of the last moment at which all of them were valid. Revocations after that have no effect."},
	{AnyName, "any-name-in-certificates", "a server's certificate may bear any name, if only an authority signed it: any other customer of that authority can pose as this server."},
}

// ParseWeakness returns the weakness called name. An unknown name is an error, which
// lists all names, or says that crypto/tls cannot do what name asks for.
func ParseWeakness(name string) (Weaknesses, error) {
	for _, row := range weaknessTable {
		if row.name == name {
			return row.weakness, nil
		}
	}
	for _, ssl := range []string{"ssl", "export", "md5", "dhe", "dss", "dsa", "anon", "null", "512"} {
		if strings.Contains(strings.ToLower(name), ssl) {
			return 0, cannot(fmt.Sprintf("%q", name))
		}
	}
	var names []string
	for _, row := range weaknessTable {
		names = append(names, row.name)
	}
	return 0, fmt.Errorf("%q is no weakness there is; there are %s%s", name, oneof.Names(names), oneof.DidYouMean(name, names))
}

// AllWeaknesses returns the set of all weaknesses. [Weaknesses.List] returns them one by
// one.
func AllWeaknesses() Weaknesses {
	var all Weaknesses
	for _, row := range weaknessTable {
		all |= row.weakness
	}
	return all
}

// Has reports whether w contains all weaknesses in other.
func (w Weaknesses) Has(other Weaknesses) bool { return w&other == other }

// List returns the weaknesses in w as sets of one each, in the order of the constants.
func (w Weaknesses) List() []Weaknesses {
	var each []Weaknesses
	for _, row := range weaknessTable {
		if w.Has(row.weakness) {
			each = append(each, row.weakness)
		}
	}
	return each
}

// String returns the names of the weaknesses in w, separated by ", ".
func (w Weaknesses) String() string {
	var names []string
	for _, row := range weaknessTable {
		if w.Has(row.weakness) {
			names = append(names, row.name)
		}
	}
	return strings.Join(names, ", ")
}

// Doc returns the descriptions of the weaknesses in w, for people, one a line.
func (w Weaknesses) Doc() string {
	var docs []string
	for _, row := range weaknessTable {
		if w.Has(row.weakness) {
			docs = append(docs, row.doc)
		}
	}
	return strings.Join(docs, "\n")
}

// An Allowance allows weaknesses, with some clients or with all peers, for ever or
// until a date.
type Allowance struct {
	Weaknesses Weaknesses

	// Networks are the networks of the clients that the allowance is for; none: all
	// clients. In a [ServerLeg] there must be none.
	Networks []netip.Prefix

	// Until is the end of the allowance; zero: it has none. After its end the allowance
	// stays in force, with a warning, unless RefuseAfter is true.
	Until       time.Time
	RefuseAfter bool
}

// covers reports whether the allowance is for this peer.
func (a Allowance) covers(peer netip.Addr) bool {
	if len(a.Networks) == 0 {
		return true
	}
	peer = peer.Unmap().WithZone("")
	for _, n := range a.Networks {
		if n.Contains(peer) {
			return true
		}
	}
	return false
}

func (a Allowance) inForce(now time.Time) bool {
	return !a.RefuseAfter || !a.over(now)
}

func (a Allowance) over(now time.Time) bool { return !a.Until.IsZero() && !now.Before(a.Until) }

// soon is the time before the end of something at which there is a warning.
const soon = 30 * 24 * time.Hour

// warning returns a warning if the allowance ends soon or has ended; otherwise "".
func (a Allowance) warning(now time.Time) string {
	switch {
	case a.over(now) && a.RefuseAfter:
		return fmt.Sprintf("%s: allowed until %s and refused since", a.Weaknesses, a.Until.Format(time.DateOnly))
	case a.over(now):
		return fmt.Sprintf("%s: allowed until %s, which is over, and still in force; take it away, or set a later date", a.Weaknesses, a.Until.Format(time.DateOnly))
	case !a.Until.IsZero() && now.Add(soon).After(a.Until):
		return fmt.Sprintf("%s: allowed until %s, %s from now", a.Weaknesses, a.Until.Format(time.DateOnly), days(a.Until.Sub(now)))
	}
	return ""
}

func date(t time.Time) string { return t.Format("2006-01-02 15:04 MST") }

// days formats a duration in whole days.
func days(d time.Duration) string {
	switch n := int(d / (24 * time.Hour)); n {
	case 0:
		return "less than a day"
	case 1:
		return "1 day"
	default:
		return fmt.Sprintf("%d days", n)
	}
}

// Needs returns the weaknesses that must be allowed for a connection with this TLS
// version and cipher suite, both numbered as in crypto/tls. If legacy is true,
// [Ciphers] must also be legacy, or a list with the suite. An example is ECDHE with
// AES-CBC and SHA-1 in TLS 1.2. Needs ignores certificates.
func Needs(version, suite uint16) (weak Weaknesses, legacy bool) {
	weak = versionWeakness(version)
	for _, s := range suiteTable() {
		if s.id == suite {
			weak |= s.weak
			legacy = !s.tls13 && !Ciphers{}.include(s, weak)
		}
	}
	return weak, legacy
}

// OfProtocol returns the set of all weaknesses of TLS versions and cipher suites, as
// opposed to those of certificates.
func OfProtocol() Weaknesses { return ofProtocol }
