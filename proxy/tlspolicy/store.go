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

// Store holds certificates of ours with their keys, and follows their files: Refresh
// looks at them again if the last look was five seconds ago. A file that changed and
// is good is used from then on, one that changed and is bad changes nothing. Sessions
// that are up are not touched. Safe for use by several goroutines; handshakes use what
// was read and wait for no file.
type Store struct {
	// Reloaded, if not nil, is told when files changed: nil if they are used
	// now, an error if they are bad and the ones before stay in use; the same
	// error only once. Set it before the store is used. It must not block.
	Reloaded func(error)

	identities atomic.Pointer[[]*identity] // never changed, only replaced
	next       atomic.Int64                // when to look at the files again, in Unix nanoseconds
	looking    atomic.Bool                 // a look is under way
}

// every is how often the files are looked at, at most.
const every = 5 * time.Second

// lookLimit is how long Refresh waits for files, which may lie elsewhere.
const lookLimit = time.Second

// An identity is one certificate of ours, as it was read.
type identity struct {
	source      Source
	certificate *tls.Certificate
	leaf        *x509.Certificate
	chain       []*x509.Certificate // that is sent, the leaf first
	root        *x509.Certificate   // nil: not in the file
	weak        Weaknesses
	notes       []string // what was not right with its files, and did not matter much

	stats []os.FileInfo // of the files, as they were read
	bad   string        // the last error with them since then, which was reported
	badAt time.Time     // when that was
}

// NewStore reads certificates. The error has all that is wrong.
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

// read reads an identity and remembers how its files looked. They are looked
// at before they are read: a change in between is found the next time.
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

// current are the identities to use now.
func (s *Store) current() []*identity { return *s.identities.Load() }

// Stale reports whether the last look at the files was five seconds ago, and none is
// under way.
func (s *Store) Stale() bool { return time.Now().UnixNano() >= s.next.Load() && !s.looking.Load() }

// Refresh looks at the files, if the store is stale. It waits for them, for at most a
// second: then a look that takes longer goes on, and its result is used when it is
// there. Of several callers one looks, and the others go on with what there is.
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

// reread gives what files hold now, or what they held before if they are bad.
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

// Infos are the certificates in use, in the order they were given.
func (s *Store) Infos() []Info {
	s.Refresh()
	var infos []Info
	for _, id := range s.current() {
		infos = append(infos, info(id.leaf, id.source.name()))
	}
	return infos
}

// A Failure is a certificate whose files changed and are bad, so that the one read
// before stays in use.
type Failure struct {
	File string    // of the certificate
	At   time.Time // when that was found out
	Err  string    // what is wrong with it
}

// Failures lists the certificates whose files are bad, as of the last look at them.
func (s *Store) Failures() []Failure {
	var list []Failure
	for _, id := range s.current() {
		if id.bad != "" {
			list = append(list, Failure{id.source.name(), id.badAt, id.bad})
		}
	}
	return list
}

// Warnings says what is not right with the certificates in use: their dates,
// their chains, files that changed and are bad.
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

// weakSpots says what is weak in the certificates of the chain.
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

// whyWeak says what is weak in all certificates.
func (s *Store) whyWeak() string {
	var texts []string
	for _, id := range s.current() {
		texts = append(texts, id.weakSpots()...)
	}
	return strings.Join(texts, "; ")
}

// gap says that the chain does not reach an authority anybody could know.
func (id *identity) gap() string {
	last := id.chain[len(id.chain)-1]
	if id.root != nil || selfSigned(last) {
		return ""
	}
	// Valid whenever the certificate is: dates are warned of by themselves.
	_, err := last.Verify(x509.VerifyOptions{CurrentTime: last.NotBefore.Add(time.Second), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); !unknown {
		return ""
	}
	return fmt.Sprintf("%q: %s, the issuer of the last certificate, is neither in the file nor an authority of this system; if it is an intermediate, its certificate has to be added behind the others, or peers cannot verify ours",
		id.source.name(), quote(last.Issuer.String()))
}

// missing are the fewest weaknesses that would have to be allowed besides these
// before a certificate can be shown; 0: one can.
func (s *Store) missing(allowed Weaknesses) Weaknesses {
	least := unnamed
	for _, id := range s.current() {
		if more := id.weak &^ allowed; least == unnamed || len(more.List()) < len(least.List()) {
			least = more
		}
	}
	return least
}

// server chooses the certificate for a client: one that bears the name it
// wants and that it can use, else one that it can use; of these ECDSA first.
// Weak ones are for those with whom they are allowed, and first for clients
// that end at TLS 1.1, which cannot say what signatures they know. With none
// that fits, any is given and fit is false: the handshake then fails as the
// protocol has it. Nil: there is none that is allowed.
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

// rank orders identities; the lowest is tried first.
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

// client chooses the certificate for a server that asks; an empty one if none
// is what it asks for.
func (s *Store) client(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	for _, id := range s.current() {
		if request.SupportsCertificate(id.certificate) == nil {
			return id.certificate, nil
		}
	}
	return &tls.Certificate{}, nil
}
