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

// A Password is what the admin listener asks for (Basic, RFC 7617).
type Password struct {
	User string // without colons
	Hash []byte // by bcrypt
}

// The costs of a hash: less is guessed too fast, more would keep us busy.
const (
	leastCost = 10
	mostCost  = 14
)

// CheckHash says what is wrong with the hash of a password.
func CheckHash(hash string) error {
	const how = "htpasswd -nBC 12 USER prints one behind the colon"
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil || len(hash) != 60 { // Cost looks at the beginning alone
		return fmt.Errorf("no hash by bcrypt; %s", how)
	}
	if cost < leastCost || cost > mostCost {
		return fmt.Errorf("a hash of cost %d; %d to %d is wanted; %s", cost, leastCost, mostCost, how)
	}
	return nil
}

// Protect lets nobody without the password have anything of next but /healthz
// and /readyz. One hash is made at a time, and one for each
// guess, whatever is wrong with it: guessing is slow and tells nothing; who was right before is known without it.
func (p Password) Protect(next http.Handler) http.Handler {
	d := &door{Password: p, one: make(chan struct{}, 1)}
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

// A door is where the password is asked for.
type door struct {
	Password
	key   [32]byte
	known atomic.Pointer[[]byte] // what was right, under key
	one   chan struct{}          // has whoever makes a hash
}

func (d *door) opens(ctx context.Context, user, password string) bool {
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
