package sasl

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"sync"

	"github.com/xdg-go/scram"
)

// iterations is the number of times our server hashes a password for SCRAM. It is the
// least that RFC 5802 (section 5.1) and RFC 7677 (section 4) allow, because a device with
// a slow processor must do as many.
const iterations = 4096

// mostIterations is the largest number that our client accepts from a server, which takes
// about 0.5 s.
const mostIterations = 1_000_000

// scramKeys are the keys that a server derives from a password, computed once.
type scramKeys struct {
	once   sync.Once
	stored scram.StoredCredentials
}

// scramHash returns the hash of a mechanism.
func scramHash(mechanism string) scram.HashGeneratorFcn {
	if mechanism == SCRAMSHA1 {
		return scram.SHA1
	}
	return scram.SHA256
}

// scramClient prepares user and password with SASLprep. If SASLprep forbids them, it
// leaves them unchanged, as many servers do.
func scramClient(mechanism, user, password string) *scram.Client {
	hash := scramHash(mechanism)
	c, err := hash.NewClient(user, password, "")
	if err != nil {
		c, _ = hash.NewClientUnprepped(user, password, "") // never fails
	}
	return c
}

// scram returns the keys of the secret for a mechanism. If the secret is not known in
// clear, or known is false, the keys match no password. The salt then depends on the
// name, as if each name were a user.
func (s Secret) scram(mechanism, name string, known bool) scram.StoredCredentials {
	h := s.held()
	if !s.Clear() || !known {
		mac := h.derive("unknown", mechanism, strings.ToLower(name))
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(mac[:saltSize]), Iters: iterations},
			StoredKey:  h.derive("stored", mechanism, name)[:scramHash(mechanism)().Size()],
			ServerKey:  h.derive("server", mechanism, name)[:scramHash(mechanism)().Size()],
		}
	}
	keys := &h.sha256
	if mechanism == SCRAMSHA1 {
		keys = &h.sha1
	}
	keys.once.Do(func() {
		factors := scram.KeyFactors{Salt: string(h.derive("salt", mechanism)[:saltSize]), Iters: iterations}
		// The keys do not depend on the user. An error means that the hash function
		// fails.
		keys.stored, _ = scramClient(mechanism, "user", h.text).GetStoredCredentialsWithError(factors)
	})
	return keys.stored
}

const saltSize = 16 // octets

// derive returns octets that nobody can compute without the secret's key.
func (h *held) derive(words ...string) []byte {
	mac := hmac.New(sha256.New, h.key[:])
	for _, word := range words {
		mac.Write([]byte(word))
		mac.Write([]byte{0})
	}
	return mac.Sum(nil)
}
