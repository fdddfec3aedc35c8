package sasl

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"sync"

	"github.com/xdg-go/scram"
)

// iterations is how often a password is hashed for SCRAM by our server. It is the
// least that RFC 5802 (section 5.1) and RFC 7677 (section 4) allow: a device with
// a slow processor has to do as many.
const iterations = 4096

// mostIterations is the most that a server may ask of our client, some 0.5 s.
const mostIterations = 1_000_000

// scramKeys are what a server keeps of a password, computed once.
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

// scramClient prepares a user and a password by SASLprep, and leaves them as they
// are if that forbids them: many servers do not prepare either.
func scramClient(mechanism, user, password string) *scram.Client {
	hash := scramHash(mechanism)
	c, err := hash.NewClient(user, password, "")
	if err != nil {
		c, _ = hash.NewClientUnprepped(user, password, "") // never fails
	}
	return c
}

// scram returns the keys of the secret for a mechanism. If the secret is not known
// in clear, or known is false, they are those of no password, and the salt depends
// on the name, as it would if each name were a user's.
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
		// The user is no part of the keys. An error is that of a hash which fails.
		keys.stored, _ = scramClient(mechanism, "user", h.text).GetStoredCredentialsWithError(factors)
	})
	return keys.stored
}

const saltSize = 16 // octets

// derive returns octets that only whoever has the secret's key can know.
func (h *held) derive(words ...string) []byte {
	mac := hmac.New(sha256.New, h.key[:])
	for _, word := range words {
		mac.Write([]byte(word))
		mac.Write([]byte{0})
	}
	return mac.Sum(nil)
}
