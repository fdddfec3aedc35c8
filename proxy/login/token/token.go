package token

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
	"time"
)

// A Token is an access token (RFC 6750). The zero Token is no token. Every way of
// printing a Token hides its content.
type Token struct {
	// value is a pointer because fmt prints the fields of a Token in an unexported field
	// of another struct, but only the address of a pointer.
	value   *string
	expires time.Time
}

func newToken(value string, expires time.Time) Token {
	return Token{value: &value, expires: expires}
}

// Secret returns the token as it is sent to a server: 1 to 16,384 visible ASCII
// characters, or "" for the zero Token.
func (t Token) Secret() string {
	if t.value == nil {
		return ""
	}
	return *t.value
}

// Expires returns when the token ends, by the local clock and the lifetime that the
// endpoint gave. If it gave none, five minutes are assumed.
func (t Token) Expires() time.Time { return t.expires }

// equal reports whether both are the same token.
func (t Token) equal(other Token) bool {
	return subtle.ConstantTimeCompare([]byte(t.Secret()), []byte(other.Secret())) == 1
}

const hidden = "token(hidden)"

func (t Token) String() string       { return hidden }
func (t Token) GoString() string     { return hidden }
func (t Token) LogValue() slog.Value { return slog.StringValue(hidden) }

// Format writes a placeholder instead of the token, for every verb. It implements
// [fmt.Formatter]: without it, verbs such as %d would print the fields.
func (t Token) Format(f fmt.State, _ rune) { fmt.Fprint(f, hidden) }

// A secret is a password, refresh token or the like. Printing it in any way hides the
// content.
type secret struct{ value *string }

func newSecret(value string) secret { return secret{&value} }

func (s secret) reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// equal reports whether both are the same secret.
func (s secret) equal(other secret) bool {
	return s.value != nil && other.value != nil && subtle.ConstantTimeCompare([]byte(s.reveal()), []byte(other.reveal())) == 1
}

const hiddenSecret = "secret(hidden)"

func (s secret) String() string             { return hiddenSecret }
func (s secret) GoString() string           { return hiddenSecret }
func (s secret) LogValue() slog.Value       { return slog.StringValue(hiddenSecret) }
func (s secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, hiddenSecret) }
