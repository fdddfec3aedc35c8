//go:build linux

package real

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"path/filepath"
	"testing"
	"time"
)

// A TokenKey is a key that signs OAuth access tokens. Its File is for Options.TokenKey.
type TokenKey struct {
	File string // file with its public key, PEM

	key *rsa.PrivateKey
}

// NewTokenKey returns a new TokenKey, whose File exists until the end of the test.
func NewTokenKey(t testing.TB) *TokenKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := Dir(t)
	write(t, dir, map[string]string{"token.pub": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))})
	return &TokenKey{filepath.Join(dir, "token.pub"), key}
}

// Token returns a signed token (JWT) for user that is valid until expires. The claims
// in more are added to the usual ones, and replace those of the same name. No two
// tokens are the same. Token returns an error if more cannot be JSON.
func (k *TokenKey) Token(user string, expires time.Time, more map[string]any) (string, error) {
	now := time.Now().Add(-time.Minute).Unix()
	claims := map[string]any{"iss": "https://login.example.com/", "aud": "https://mail.example.com/", "sub": user, "email": user,
		"iat": now, "nbf": now, "exp": expires.Unix(), "jti": rand.Text()}
	for name, value := range more {
		claims[name] = value
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.key, crypto.SHA256, sum[:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), err
}
