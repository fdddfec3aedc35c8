package metrics

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"sync/atomic"

	"golang.org/x/crypto/bcrypt"
)

// A Password is the user and the hash of the password with which people may use the
// admin listener (HTTP Basic authentication, RFC 7617).
type Password struct {
	User string // must not contain a colon
	Hash []byte // bcrypt hash of the password; see CheckHash
}

// The range of costs of a hash. With a lower cost, guessing is too fast; with a higher
// one, checking takes too long.
const (
	leastCost = 10
	mostCost  = 14
)

// CheckHash returns nil if hash can be the Hash of a Password. It returns an error if
// hash is not a bcrypt hash, or if its cost is not 10 to 14.
func CheckHash(hash string) error {
	const how = "htpasswd -nBC 12 USER prints one behind the colon"
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil || len(hash) != 60 { // Cost only reads the beginning
		return fmt.Errorf("no hash by bcrypt; %s", how)
	}
	if cost < leastCost || cost > mostCost {
		return fmt.Errorf("a hash of cost %d; %d to %d is wanted; %s", cost, leastCost, mostCost, how)
	}
	return nil
}

// Protect returns a handler that passes requests with the right user and password on to
// next, and answers 401 to others. Requests for /healthz and /readyz need no password.
//
// Guessing is slow, because the handler computes only one hash at a time. It computes a
// hash even if the user is wrong, so the time does not reveal whether the user exists.
// It remembers the last credentials that were right, and computes no hash for these.
func (p Password) Protect(next http.Handler) http.Handler {
	d := &gate{Password: p, one: make(chan struct{}, 1)}
	rand.Read(d.key[:])
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
			user, password, ok := r.BasicAuth()
			if !ok || !d.opens(r.Context(), user, password) {
				w.Header().Set("WWW-Authenticate", `Basic realm="smtpshim", charset="UTF-8"`)
				say(w, http.StatusUnauthorized, "a user and a password are wanted\n")
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// A gate checks the password.
type gate struct {
	Password
	key   [32]byte
	known atomic.Pointer[[]byte] // HMAC of the last right credentials, under key
	one   chan struct{}          // a semaphore: one hash at a time
}

func (d *gate) opens(ctx context.Context, user, password string) bool {
	mac := hmac.New(sha256.New, d.key[:])
	fmt.Fprintf(mac, "%d:%s%s", len(user), user, password)
	sum := mac.Sum(nil)
	if known := d.known.Load(); known != nil && hmac.Equal(*known, sum) {
		return true
	}
	select {
	case d.one <- struct{}{}:
		defer func() { <-d.one }()
	case <-ctx.Done():
		return false
	}
	wrong := bcrypt.CompareHashAndPassword(d.Hash, []byte(password))
	got, want := sha256.Sum256([]byte(user)), sha256.Sum256([]byte(d.User))
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || wrong != nil {
		return false
	}
	d.known.Store(&sum)
	return true
}
