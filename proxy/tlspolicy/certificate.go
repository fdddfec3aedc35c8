package tlspolicy

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// A Pin is the SHA-256 fingerprint of a certificate.
type Pin [sha256.Size]byte

// ParsePin returns the fingerprint that text gives as 64 hexadecimal digits, with or
// without colons. Any other text is an error.
func ParsePin(text string) (Pin, error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), ":", ""))
	if err != nil || len(raw) != sha256.Size {
		return Pin{}, fmt.Errorf("%q is no SHA-256 fingerprint: 64 hexadecimal digits, with or without colons, as openssl x509 -fingerprint -sha256 prints them", text)
	}
	return Pin(raw), nil
}

// String returns the fingerprint as OpenSSL prints it: upper-case hexadecimal octets,
// separated by colons.
func (p Pin) String() string {
	var b strings.Builder
	for i, octet := range p {
		if i > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%02X", octet)
	}
	return b.String()
}

func fingerprint(cert *x509.Certificate) Pin { return sha256.Sum256(cert.Raw) }

// An Info is what administrators want to know of a certificate.
type Info struct {
	Source      string   // the file that it is from; "": it is from a peer
	Names       []string // host names and addresses that it is for
	Subject     string
	Issuer      string
	Fingerprint Pin
	NotBefore   time.Time
	NotAfter    time.Time
	Key         string // type and bits: "RSA 2048", "ECDSA 256", "Ed25519"
	SelfSigned  bool   // it names itself as its issuer
}

// DaysLeft returns the number of whole days from now to the end of the certificate. It is
// negative a day or more after the end.
func (i Info) DaysLeft(now time.Time) int { return int(i.NotAfter.Sub(now) / (24 * time.Hour)) }

func info(cert *x509.Certificate, source string) Info {
	return Info{
		Source: source, Names: hosts(cert), Subject: cert.Subject.String(), Issuer: cert.Issuer.String(),
		Fingerprint: fingerprint(cert), NotBefore: cert.NotBefore, NotAfter: cert.NotAfter,
		Key: keyName(cert.PublicKey), SelfSigned: selfSigned(cert),
	}
}

// selfSigned reports whether a certificate names itself as its issuer.
func selfSigned(cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawSubject, cert.RawIssuer)
}

func keyName(key crypto.PublicKey) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return fmt.Sprintf("ECDSA %d", key.Curve.Params().BitSize)
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return "of a kind Go's TLS does not have"
}

// rsaBits returns the size of an RSA key; 0 for other keys.
func rsaBits(cert *x509.Certificate) int {
	if key, ok := cert.PublicKey.(*rsa.PublicKey); ok {
		return key.N.BitLen()
	}
	return 0
}

// signedWeakly reports whether a certificate is signed with SHA-1 or MD5.
func signedWeakly(cert *x509.Certificate) bool {
	switch cert.SignatureAlgorithm {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1, x509.MD5WithRSA, x509.MD2WithRSA:
		return true
	}
	return false
}

// keyWeakness returns the weaknesses of a certificate's key.
func keyWeakness(cert *x509.Certificate) Weaknesses {
	if bits := rsaBits(cert); bits > 0 && bits < 2048 {
		return BreakableShortRSA
	}
	return 0
}

// weaknessesOf returns the weaknesses of a certificate of ours. The signature of a
// self-signed certificate proves nothing, so it is not counted.
func weaknessesOf(cert *x509.Certificate) Weaknesses {
	w := keyWeakness(cert)
	if signedWeakly(cert) && !selfSigned(cert) {
		w |= ForgeableSHA1Certificates
	}
	return w
}

// hosts returns the names and addresses that a certificate is for.
func hosts(cert *x509.Certificate) []string {
	list := append([]string(nil), cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		list = append(list, ip.String())
	}
	return list
}

// names returns these in words. Text of a peer is quoted and shortened.
func names(cert *x509.Certificate) string {
	list := hosts(cert)
	if len(list) == 0 {
		return fmt.Sprintf("no host name (its subject %s does not count)", subject(cert))
	}
	more := ""
	if len(list) > 8 {
		more, list = fmt.Sprintf(" and %d more", len(list)-8), list[:8]
	}
	quoted := make([]string, len(list))
	for i, name := range list {
		quoted[i] = quote(name)
	}
	return strings.Join(quoted, ", ") + more
}

func subject(cert *x509.Certificate) string { return quote(cert.Subject.String()) }

// quote quotes text of a peer for a log.
func quote(text string) string {
	if len(text) > 100 {
		return fmt.Sprintf("%q...", text[:100])
	}
	return fmt.Sprintf("%q", text)
}

// describe identifies a certificate in words.
func describe(cert *x509.Certificate) string {
	return fmt.Sprintf("certificate for %s, issued by %s, valid %s to %s, SHA-256 %s", names(cert), quote(cert.Issuer.String()),
		cert.NotBefore.Format(time.DateOnly), cert.NotAfter.Format(time.DateOnly), fingerprint(cert))
}

// Inspect returns the Info of cert, a certificate that a peer has shown. Its Source is
// "".
func Inspect(cert *x509.Certificate) Info { return info(cert, "") }
