package sasl

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync/atomic"

	"golang.org/x/crypto/bcrypt"
)

// A Secret is a password, a token, or the hash of a password. No verb of fmt and no log
// prints its content. The zero Secret has no content and matches nothing. A Secret is
// safe for concurrent use. Copies share what is computed from the content, such as keys
// of SCRAM.
type Secret struct {
	// held is a function because fmt prints only its address. fmt would follow a pointer,
	// and calls no Format of an unexported field.
	held func() *held
}

// A held is the content of a Secret. Exactly one of text and hash is set.
type held struct {
	text string // the password or token in clear
	hash []byte // the bcrypt hash of the password

	known atomic.Pointer[[sha256.Size]byte] // MAC, under key, of the password that matched hash
	key   [sha256.Size]byte

	sha1, sha256 scramKeys
}

// Password returns a Secret that is text, a password or token in clear. For "" it returns
// the zero Secret.
func Password(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return newSecret(&held{text: text})
}

// Hash returns the Secret of a password of which only a hash is known. hash is a bcrypt
// hash, as "htpasswd -nB" prints it after the colon. Any other hash is an error. Only
// servers of PLAIN and LOGIN can use the Secret.
func Hash(hash string) (Secret, error) {
	if _, err := bcrypt.Cost([]byte(hash)); err != nil || len(hash) != bcryptLength {
		return Secret{}, fmt.Errorf("a password hash of %d octets is no bcrypt hash; htpasswd -nBC 12 USER prints one behind the colon", len(hash))
	}
	return newSecret(&held{hash: []byte(hash)}), nil
}

const bcryptLength = 60 // octets of a hash

func newSecret(h *held) Secret {
	rand.Read(h.key[:]) // never fails
	return Secret{func() *held { return h }}
}

// Zero reports whether s is the zero Secret.
func (s Secret) Zero() bool { return s.held == nil }

// Clear reports whether s is a password or token in clear. It is false for a hash and
// for the zero Secret. Servers of PLAIN and LOGIN can check passwords with a hash; no
// [Client] can use one.
func (s Secret) Clear() bool { return s.held != nil && s.held().text != "" }

// errNotClear is the error of a client whose secret is a hash or zero.
var errNotClear = errors.New("the password or token is not known in clear")

// Equal reports whether s and other are the same password or token in clear, the same
// hash, or both zero.
func (s Secret) Equal(other Secret) bool {
	if s.Zero() || other.Zero() {
		return s.Zero() == other.Zero()
	}
	a, b := s.held(), other.held()
	return hmac.Equal([]byte(a.text), []byte(b.text)) && hmac.Equal(a.hash, b.hash)
}

// reveal returns the password or token in clear.
func (s Secret) reveal() (string, error) {
	if !s.Clear() {
		return "", errNotClear
	}
	return s.held().text, nil
}

// matches reports whether password is the one that the secret is or is a hash of. The
// time depends on the kind of the secret and, for a hash, on whether the same password
// was right before. A wrong password always costs one bcrypt.
func (s Secret) matches(password []byte) bool {
	if s.Zero() || len(password) == 0 {
		return false
	}
	h := s.held()
	sum := h.sum(password)
	if h.hash == nil {
		want := h.sum([]byte(h.text))
		return hmac.Equal(sum[:], want[:])
	}
	if known := h.known.Load(); known != nil && hmac.Equal(known[:], sum[:]) {
		return true
	}
	if bcrypt.CompareHashAndPassword(h.hash, password) != nil {
		return false
	}
	h.known.Store(&sum)
	return true
}

func (h *held) sum(password []byte) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, h.key[:])
	mac.Write(password)
	mac.Sum(sum[:0])
	return sum
}

const hidden = "[secret]"

func (s Secret) String() string { return hidden }

func (s Secret) GoString() string { return "sasl.Secret(" + hidden + ")" }

// Format writes a placeholder instead of the secret, for every verb. Without it, verbs
// such as %d would not use String.
func (s Secret) Format(f fmt.State, verb rune) { io.WriteString(f, hidden) }

func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText returns a placeholder instead of the secret, for encoders such as JSON's.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// quoted prepares text of a peer for an error or a log: at most 200 octets of it, quoted.
func quoted(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most]
	}
	return strconv.QuoteToASCII(text)
}
