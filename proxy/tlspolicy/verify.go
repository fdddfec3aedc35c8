package tlspolicy

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Roots are trusted authorities, read from files. For [ServerLeg.Roots], nil means
// those of the system.
type Roots struct {
	pool  *x509.CertPool
	certs []*x509.Certificate
	files string
}

// ReadRoots returns the authorities whose certificates are in files (PEM). The error joins
// the errors of all files. It is an error to give no file.
func ReadRoots(files ...string) (*Roots, error) {
	r := &Roots{pool: x509.NewCertPool()}
	var errs []error
	var quoted []string
	for _, file := range files {
		certs, err := readCertificates(file)
		errs = append(errs, err)
		for _, cert := range certs {
			r.pool.AddCert(cert)
		}
		r.certs = append(r.certs, certs...)
		quoted = append(quoted, fmt.Sprintf("%q", file))
	}
	if len(files) == 0 {
		errs = append(errs, errors.New("no file with authorities is given"))
	}
	r.files = strings.Join(quoted, ", ")
	return r, errors.Join(errs...)
}

// Infos returns the Info of each authority's certificate, in the order in which they
// were read. The Source of each names all files given to ReadRoots, in quotes.
func (r *Roots) Infos() []Info {
	var infos []Info
	for _, cert := range r.certs {
		infos = append(infos, info(cert, r.files))
	}
	return infos
}

func (r *Roots) warnings(now time.Time) []string {
	if r == nil {
		return nil
	}
	var texts []string
	for _, cert := range r.certs {
		if left := cert.NotAfter.Sub(now); left <= 0 {
			texts = append(texts, fmt.Sprintf("the authority %s in %s expired on %s", subject(cert), r.files, date(cert.NotAfter)))
		} else if left < soon {
			texts = append(texts, fmt.Sprintf("the authority %s in %s expires in %s, on %s", subject(cert), r.files, days(left), date(cert.NotAfter)))
		}
		if keyWeakness(cert) != 0 {
			texts = append(texts, fmt.Sprintf("the authority %s in %s has an RSA key of %d bits; 2048 are wanted at least (NIST SP 800-131A)", subject(cert), r.files, rsaBits(cert)))
		}
	}
	return texts
}

// where names the authorities in a text.
func (r *Roots) where() string {
	if r == nil {
		return "the system's authorities"
	}
	return "the authorities in " + r.files
}

// trusted returns the pool; nil is the system's.
func (r *Roots) trusted() *x509.CertPool {
	if r == nil {
		return nil
	}
	return r.pool
}

// A verifier verifies a peer's certificate.
type verifier struct {
	peer    string // "server" or "client"
	name    string // the name that the certificate must have; "": any
	roots   *Roots
	usage   x509.ExtKeyUsage
	allowed Weaknesses
	pins    []Pin
}

// verify returns nil or an [*Error]. Each weakness counts by itself: allowed ones are
// ignored, and everything else is verified as usual.
func (v verifier) verify(certs []*x509.Certificate, now time.Time) error {
	if len(certs) == 0 {
		return refuse("client-certificate", nil, "the %s showed no certificate; one is required", v.peer)
	}
	if len(v.pins) > 0 {
		return v.pinned(certs[0])
	}
	if v.name == "" && v.usage == x509.ExtKeyUsageServerAuth && !v.allowed.Has(AnyName) {
		return refuse("certificate-name", nil, "it is not known which name the server's certificate must have (%s)", describe(certs[0]))
	}
	options := x509.VerifyOptions{
		Roots:         v.roots.trusted(),
		Intermediates: x509.NewCertPool(),
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{v.usage},
		DNSName:       v.name,
	}
	if v.allowed.Has(AnyName) {
		options.DNSName = ""
	}
	if v.allowed.Has(ExpiredCertificates) {
		options.CurrentTime = v.lastGood(certs, now)
	}
	for _, cert := range certs[1:] {
		options.Intermediates.AddCert(cert)
	}
	chains, err := certs[0].Verify(options)
	if err != nil {
		if chain := v.signed(certs, options); chain != nil {
			if err = verifyStandIns(chain, options); err == nil {
				chains = [][]*x509.Certificate{chain}
			}
		}
	}
	if err != nil {
		return v.explain(err, certs, now)
	}
	return v.strong(chains)
}

// pinned compares a certificate with the pins. As with DANE-EE (RFC 7672, 3.1.1),
// authority, name and dates of a pinned certificate do not matter. A weak key does, since
// it can be broken.
func (v verifier) pinned(leaf *x509.Certificate) error {
	seen := fingerprint(leaf)
	if !slices.Contains(v.pins, seen) {
		expected := make([]string, len(v.pins))
		for i, pin := range v.pins {
			expected[i] = pin.String()
		}
		return refuse("pin", nil, "the %s's certificate is not one that is pinned: SHA-256 %s; expected %s (%s)",
			v.peer, seen, strings.Join(expected, " or "), describe(leaf))
	}
	if missing := keyWeakness(leaf) &^ v.allowed; missing != 0 {
		return v.weak(leaf, missing)
	}
	return nil
}

// lastGood returns the last time at which nothing had expired: now, if nothing has.
func (v verifier) lastGood(certs []*x509.Certificate, now time.Time) time.Time {
	known := slices.Clone(certs)
	if v.roots != nil {
		for _, root := range v.roots.certs {
			if slices.ContainsFunc(certs, func(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, root.RawSubject) }) {
				known = append(known, root)
			}
		}
	}
	for _, cert := range known {
		if cert.NotAfter.Before(now) {
			now = cert.NotAfter
		}
	}
	return now
}

// strong checks that some chain has no weakness that is not allowed.
func (v verifier) strong(chains [][]*x509.Certificate) error {
	var first error
	for _, chain := range chains {
		err := v.strongChain(chain)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (v verifier) strongChain(chain []*x509.Certificate) error {
	for i, cert := range chain {
		weak := keyWeakness(cert)
		// The last certificate is trusted by itself, however it is signed. Any other
		// signature counts, even if the certificate names itself as its issuer, which
		// anybody can write.
		if signedWeakly(cert) && i < len(chain)-1 {
			weak |= ForgeableSHA1Certificates
		}
		if missing := weak &^ v.allowed; missing != 0 {
			return v.weak(cert, missing)
		}
	}
	return nil
}

func (v verifier) weak(cert *x509.Certificate, missing Weaknesses) error {
	return refuse("certificate-weak", nil, "the %s's chain has a weak certificate: signed with %s, key %s; to take it, allow %s (%s)",
		v.peer, cert.SignatureAlgorithm, keyName(cert.PublicKey), missing, describe(cert))
}

// signed returns a chain from the leaf to a trusted certificate, by names and signatures.
// It is for chains that crypto/x509 does not find because it does not accept SHA-1. It
// returns nil if there is none. It checks only signatures, and a limited number of them.
func (v verifier) signed(certs []*x509.Certificate, options x509.VerifyOptions) []*x509.Certificate {
	pool := slices.Clone(certs[1:])
	if v.roots != nil {
		pool = append(pool, v.roots.certs...)
	}
	options.DNSName, options.KeyUsages = "", []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
	budget := 32
	var climb func(chain []*x509.Certificate) []*x509.Certificate
	climb = func(chain []*x509.Certificate) []*x509.Certificate {
		last := chain[len(chain)-1]
		if len(chain) > 1 {
			if upper, err := last.Verify(options); err == nil {
				return append(chain, upper[0][1:]...)
			}
		}
		for _, parent := range pool {
			if !bytes.Equal(last.RawIssuer, parent.RawSubject) || slices.ContainsFunc(chain, parent.Equal) || budget == 0 {
				continue
			}
			budget--
			// CheckSignature accepts SHA-1, but never MD5.
			if parent.CheckSignature(last.SignatureAlgorithm, last.RawTBSCertificate, last.Signature) != nil {
				continue
			}
			if whole := climb(append(slices.Clone(chain), parent)); whole != nil {
				return whole
			}
		}
		return nil
	}
	return climb(certs[:1:1])
}

// verifyStandIns makes crypto/x509 verify everything in a chain except its signatures,
// which have been checked: dates, names, name constraints, key usage, path length, and
// who may sign. It passes copies with the same content, signed with keys of our own.
func verifyStandIns(chain []*x509.Certificate, options x509.VerifyOptions) error {
	copies := make([]*x509.Certificate, len(chain))
	var parent ed25519.PrivateKey
	for i := len(chain) - 1; i >= 0; i-- {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		c := *chain[i]
		c.PublicKey, c.PublicKeyAlgorithm = public, x509.Ed25519
		c.SignatureAlgorithm = x509.PureEd25519
		if parent == nil {
			parent = private
		}
		c.Signature = ed25519.Sign(parent, c.RawTBSCertificate)
		copies[i], parent = &c, private
	}
	options.Roots, options.Intermediates = x509.NewCertPool(), x509.NewCertPool()
	options.Roots.AddCert(copies[len(copies)-1])
	for _, c := range copies[1 : len(copies)-1] {
		options.Intermediates.AddCert(c)
	}
	_, err := copies[0].Verify(options)
	return err
}

// explain converts an error of crypto/x509 to an Error that says what was seen and what
// would have been right.
func (v verifier) explain(err error, certs []*x509.Certificate, now time.Time) error {
	leaf := certs[0]
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		advice := ""
		if len(hosts(leaf)) == 0 {
			advice = "; pin it, or allow " + AnyName.String()
		}
		return refuse("certificate-name", err, "the %s's certificate is for %s; expected %q%s (%s)", v.peer, names(leaf), v.name, advice, describe(leaf))
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return v.unknownAuthority(err, certs)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		cert := leaf
		if invalid.Cert != nil {
			cert = invalid.Cert
		}
		switch {
		case invalid.Reason != x509.Expired:
			return refuse("certificate-authority", err, "the %s's chain does not hold: %s; expected one that %s vouch for (%s)", v.peer, plain(err), v.roots.where(), describe(cert))
		case now.Before(cert.NotBefore):
			return refuse("certificate-not-yet-valid", err, "the %s's certificate is valid from %s on; it is %s (%s)", v.peer, date(cert.NotBefore), date(now), describe(cert))
		default:
			return refuse("certificate-expired", err, "the %s's certificate was valid until %s; it is %s (%s)", v.peer, date(cert.NotAfter), date(now), describe(cert))
		}
	}
	return refuse("certificate-authority", err, "the %s's certificate cannot be verified: %s (%s)", v.peer, plain(err), describe(leaf))
}

func (v verifier) unknownAuthority(err error, certs []*x509.Certificate) error {
	leaf, last := certs[0], certs[len(certs)-1]
	if selfSigned(leaf) {
		return refuse("certificate-authority", err, "the %s's certificate is signed by itself, and is not among %s; pin it by its SHA-256, or name its file in ca (%s)", v.peer, v.roots.where(), describe(leaf))
	}
	note := ""
	for _, cert := range certs {
		if signedWeakly(cert) && !selfSigned(cert) {
			note = fmt.Sprintf("; %s is signed with %s besides", subject(cert), cert.SignatureAlgorithm)
		}
	}
	return refuse("certificate-authority", err, "the %s's certificate leads to %s, which is not among %s%s (%s)", v.peer, quote(last.Issuer.String()), v.roots.where(), note, describe(leaf))
}
