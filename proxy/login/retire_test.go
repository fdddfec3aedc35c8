package login

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"smtpshim/proxy/login/token"
)

// endpoint gives a token at once, and each time.
type endpoint struct{}

func (endpoint) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(`{"access_token": "made-up", "token_type": "Bearer", "expires_in": 3600}`))}, nil
}

func TestARetiredAccountHasTokensUntilItsSessionsHaveEnded(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("made-up\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		source, err := token.New(token.Settings{Account: "office", Flow: token.ClientCredentials, TokenURL: "https://login.example.com/token",
			Scopes: []string{"mail"}, ClientID: "shim", ClientSecretFile: secret, HTTP: endpoint{}})
		if err != nil {
			t.Fatal(err)
		}
		a, err := NewAccount(AccountSettings{Name: "office", User: "office@example.com", Tokens: source})
		if err != nil {
			t.Fatal(err)
		}
		l, err := New(Settings{Entries: []Entry{{Networks: prefixes("192.0.2.0/24"), Account: a}}})
		if err != nil {
			t.Fatal(err)
		}
		one, other := l.Unasked(from("192.0.2.1", false)), l.Unasked(from("192.0.2.2", false))
		closed := func() bool {
			synctest.Wait()
			_, err := source.Token(context.Background())
			var e *token.Error
			return errors.As(err, &e) && e.Kind == token.Closed
		}
		one.Close()
		one.Close() // counts once
		a.Retire()
		if closed() {
			t.Error("the source is closed while a session uses the account")
		}
		other.Close()
		if !closed() {
			t.Error("the source is open though nobody uses the account any more")
		}
	})
}
