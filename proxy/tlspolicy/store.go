package tlspolicy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// A Store holds our certificates with their keys. After a change of their files,
// Refresh reads them again. A changed file that is valid is used from then on. If a
// changed file is not valid, what was read before stays in use. Open sessions are not
// affected. Handshakes use what was read and never wait for a file. A Store is safe for
// concurrent use.
type Store struct {
	// Reloaded, if not nil, is called for each certificate whose files have changed:
	// with nil if they are now used, or with an error if they are not valid and the old
	// ones stay in use. An error that stays the same is reported once. Set Reloaded
	// before using the store. It must not block.
	Reloaded func(error)

	identities atomic.Pointer[[]*identity] // the slice is replaced, never changed
	next       atomic.Int64                // when to look at the files again, in Unix nanoseconds
	looking    atomic.Bool                 // a look is in progress
}

// every is the shortest time between two looks at the files.
const every = 5 * time.Second

// lookLimit is the longest time that Refresh waits for files, which may be on a network.
const lookLimit = time.Second

// An identity is one certificate of ours, as read from its files.
type identity struct {
	source      Source
	certificate *tls.Certificate
	leaf        *x509.Certificate
	chain       []*x509.Certificate // the chain to send, beginning with the leaf
	root        *x509.Certificate   // nil: not in the file
	weak        Weaknesses
	notes       []string // minor faults of the files

	stats []os.FileInfo // of the files when they were read
	bad   string        // the last error that was reported for them since
	badAt time.Time     // the time of that error
}

// NewStore returns a Store with the certificates and keys in the files of sources. If any
// of them cannot be used, or sources is empty, it returns an error that joins all
// mistakes.
func NewStore(sources ...Source) (*Store, error) {
	var identities []*identity
	var errs []error
	for _, source := range sources {
		id, err := read(source)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		identities = append(identities, id)
	}
	if len(sources) == 0 {
		errs = append(errs, errors.New("no certificate is given"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s := &Store{}
	s.identities.Store(&identities)
	s.next.Store(time.Now().Add(every).UnixNano())
	return s, nil
}

// read reads an identity and records the state of its files. It takes the state before it
// reads, so that a change in between is detected at the next look.
func read(source Source) (*identity, error) {
	stats, err := look(source)
	if err != nil {
		return nil, err
	}
	id, err := source.load()
	if err != nil {
		return nil, err
	}
	id.stats = stats
	return id, nil
}

func look(source Source) ([]os.FileInfo, error) {
	var stats []os.FileInfo
	for _, name := range source.files() {
		stat, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		stats = append(stats, stat)
	}
	return stats, nil
}

// current returns the identities in use.
func (s *Store) current() []*identity { return *s.identities.Load() }

// Stale reports whether Refresh would look at the files now: the last look was at least
// five seconds ago, and no look is in progress.
func (s *Store) Stale() bool { return time.Now().UnixNano() >= s.next.Load() && !s.looking.Load() }

// Refresh looks at the files if Stale is true, and uses the certificates of those that
// have changed. It waits for this at most a second. A look that takes longer goes on,
// and its result is used when it is ready. If several callers call Refresh, one of them
// looks, and the others return at once.
func (s *Store) Refresh() {
	if !s.Stale() || !s.looking.CompareAndSwap(false, true) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.looking.Store(false)
		s.next.Store(time.Now().Add(every).UnixNano())
		s.look()
	}()
	late := time.NewTimer(lookLimit)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	}
}

// look reads the files that have changed.
func (s *Store) look() {
	identities := slices.Clone(*s.identities.Load())
	for i, id := range identities {
		if stats, err := look(id.source); err == nil && id.bad == "" && slices.EqualFunc(stats, id.stats, unchanged) {
			continue
		}
		identities[i] = s.reread(id)
	}
	s.identities.Store(&identities)
}

// reread returns the present content of files, or old if they are not valid.
func (s *Store) reread(old *identity) *identity {
	id, err := read(old.source)
	if err != nil {
		kept := *old
		kept.bad = err.Error()
		if kept.bad != old.bad {
			kept.badAt = time.Now()
			s.report(fmt.Errorf("%s changed and the certificate read before stays in use: %w", old.source.name(), err))
		}
		return &kept
	}
	s.report(nil)
	return id
}

func (s *Store) report(err error) {
	if s.Reloaded != nil {
		s.Reloaded(err)
	}
}

func unchanged(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// Infos calls Refresh and returns the Info of each certificate in use, in the order of
// the sources given to NewStore.
func (s *Store) Infos() []Info {
	s.Refresh()
	var infos []Info
	for _, id := range s.current() {
		infos = append(infos, info(id.leaf, id.source.name()))
	}
	return infos
}

// A Failure says that the files of a certificate have changed and are not valid, so
// that the certificate read before stays in use.
type Failure struct {
	File string    // the file of the certificate
	At   time.Time // when that was found
	Err  string    // what is wrong with the files
}

// Failures returns a Failure for each certificate whose files had changed and were not
// valid at the last look at them. It does not look at them itself.
func (s *Store) Failures() []Failure {
	var list []Failure
	for _, id := range s.current() {
		if id.bad != "" {
			list = append(list, Failure{id.source.name(), id.badAt, id.bad})
		}
	}
	return list
}

// Warnings calls Refresh and returns what is wrong at the time now with the
// certificates in use, one text for each fault: they are not valid yet, have expired or
// expire within 30 days; their chain is incomplete or out of order; a key or signature
// is weak; or their files have changed and are not valid.
func (s *Store) Warnings(now time.Time) []string {
	s.Refresh()
	var texts []string
	for _, id := range s.current() {
		file := id.source.name()
		for i, cert := range id.chain {
			left := cert.NotAfter.Sub(now)
			switch {
			case now.Before(cert.NotBefore):
				texts = append(texts, fmt.Sprintf("%q: the certificate %d, %s, is valid only from %s on; it is %s", file, i+1, subject(cert), date(cert.NotBefore), date(now)))
			case left <= 0:
				texts = append(texts, fmt.Sprintf("%q: the certificate %d, %s, expired %s ago, on %s", file, i+1, subject(cert), days(-left), date(cert.NotAfter)))
			case left < soon:
				texts = append(texts, fmt.Sprintf("%q: the certificate %d, %s, expires in %s, on %s", file, i+1, subject(cert), days(left), date(cert.NotAfter)))
			}
		}
		texts = append(texts, id.notes...)
		texts = append(texts, id.weakSpots()...)
		if gap := id.gap(); gap != "" {
			texts = append(texts, gap)
		}
		if id.bad != "" {
			texts = append(texts, fmt.Sprintf("%q: changed, is bad, and the certificate read before is in use: %s", file, id.bad))
		}
	}
	return texts
}

// weakSpots describes what is weak in the certificates of the chain.
func (id *identity) weakSpots() (texts []string) {
	for i, cert := range id.chain {
		if keyWeakness(cert) != 0 {
			texts = append(texts, fmt.Sprintf("%q: the certificate %d, %s, has an RSA key of %d bits; 2048 are wanted at least (NIST SP 800-131A)", id.source.name(), i+1, subject(cert), rsaBits(cert)))
		}
		if signedWeakly(cert) && !selfSigned(cert) {
			texts = append(texts, fmt.Sprintf("%q: the certificate %d, %s, is signed with %s, which can be forged (RFC 9155)", id.source.name(), i+1, subject(cert), cert.SignatureAlgorithm))
		}
	}
	return texts
}

// whyWeak describes what is weak in all certificates.
func (s *Store) whyWeak() string {
	var texts []string
	for _, id := range s.current() {
		texts = append(texts, id.weakSpots()...)
	}
	return strings.Join(texts, "; ")
}

// gap describes a chain that does not end at a known authority.
func (id *identity) gap() string {
	last := id.chain[len(id.chain)-1]
	if id.root != nil || selfSigned(last) {
		return ""
	}
	// At this time the certificate is valid. Other warnings are about dates.
	_, err := last.Verify(x509.VerifyOptions{CurrentTime: last.NotBefore.Add(time.Second), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); !unknown {
		return ""
	}
	return fmt.Sprintf("%q: %s, the issuer of the last certificate, is neither in the file nor an authority of this system; if it is an intermediate, its certificate has to be added behind the others, or peers cannot verify ours",
		id.source.name(), quote(last.Issuer.String()))
}

// missing returns the smallest set of weaknesses that must also be allowed before a
// certificate can be shown; 0: one can be shown now.
func (s *Store) missing(allowed Weaknesses) Weaknesses {
	least := unnamed
	for _, id := range s.current() {
		if more := id.weak &^ allowed; least == unnamed || len(more.List()) < len(least.List()) {
			least = more
		}
	}
	return least
}

// server chooses the certificate for a client. It prefers one that has the wanted name
// and that the client can use, then one that the client can use, and among these ECDSA.
// Weak certificates are only for clients with which they are allowed. They come first for
// clients that support at most TLS 1.1, which cannot tell the signatures that they
// support. If no certificate fits, server returns any allowed one, fit is false, and the
// handshake fails by the protocol. It returns nil if none is allowed.
func (s *Store) server(hello *tls.ClientHelloInfo, active Weaknesses) (certificate *tls.Certificate, fit bool) {
	old := len(hello.SupportedVersions) > 0 && slices.Max(hello.SupportedVersions) < tls.VersionTLS12
	var allowed []*identity
	for _, id := range s.current() {
		if active.Has(id.weak) {
			allowed = append(allowed, id)
		}
	}
	if len(allowed) == 0 {
		return nil, false
	}
	slices.SortStableFunc(allowed, func(a, b *identity) int { return a.rank(old) - b.rank(old) })
	anyName := *hello
	anyName.ServerName = ""
	for _, wants := range []*tls.ClientHelloInfo{hello, &anyName} {
		for _, id := range allowed {
			if wants.SupportsCertificate(id.certificate) == nil {
				return id.certificate, true
			}
		}
	}
	return allowed[0].certificate, false
}

// rank returns the order in which identities are tried. The lowest is first.
func (id *identity) rank(oldClient bool) int {
	rank := 0
	if (id.weak != 0) != oldClient {
		rank += 2
	}
	if rsaBits(id.leaf) > 0 {
		rank++
	}
	return rank
}

// client chooses the certificate for a server that asks for one. It returns an empty one
// if none fits.
func (s *Store) client(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	for _, id := range s.current() {
		if request.SupportsCertificate(id.certificate) == nil {
			return id.certificate, nil
		}
	}
	return &tls.Certificate{}, nil
}
