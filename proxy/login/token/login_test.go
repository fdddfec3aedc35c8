package token

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A device is an endpoint for device codes. poll answers the nth request for the
// token, from 1 on; nil: the answer is a token.
func device(poll func(n int) *http.Response) *endpoint {
	n := 0
	return &endpoint{answer: func(q *http.Request, form url.Values) *http.Response {
		if strings.HasSuffix(q.URL.Path, "/devicecode") {
			return says(200, time.Now(), map[string]any{
				"device_code": "the-device-code", "user_code": "WDJB-MJHT", "verification_uri": "https://login.example.com/device",
				"expires_in": 900, "interval": 5,
			})
		}
		if form.Get("device_code") != "the-device-code" {
			return says(400, time.Now(), map[string]any{"error": "invalid_grant"})
		}
		n++
		if reply := poll(n); reply != nil {
			return reply
		}
		return says(200, time.Now(), map[string]any{"access_token": "access", "refresh_token": "refresh-0", "expires_in": 3600})
	}}
}

func withDevice(t *testing.T, e http.RoundTripper) Settings {
	t.Helper()
	return Settings{Account: "office", Provider: "microsoft", Tenant: "contoso.example", ClientID: "id", StateDir: filepath.Join(t.TempDir(), "state"), HTTP: e}
}

func TestLoginStoresTheRefreshTokenOfADeviceCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := device(func(n int) *http.Response {
			switch n {
			case 1:
				return says(400, time.Now(), map[string]any{"error": "authorization_pending"})
			case 2:
				return says(400, time.Now(), map[string]any{"error": "slow_down"})
			case 3:
				return says(503, time.Now(), map[string]any{})
			}
			return nil
		})
		settings := withDevice(t, e)
		var shown []Prompt
		err := Login(context.Background(), settings, func(p Prompt) error {
			shown = append(shown, p)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(shown) != 1 || shown[0].URL != "https://login.example.com/device" || shown[0].Code != "WDJB-MJHT" || time.Until(shown[0].Until) > 15*time.Minute {
			t.Errorf("what was shown is %v, want the address and the code once", shown)
		}
		if first := e.requests[0].Get("scope"); first != "https://outlook.office.com/SMTP.Send offline_access" {
			t.Errorf("the scope is %q, want that of SMTP with a refresh token", first)
		}
		settings.Flow = RefreshToken
		filled, err := settings.filled()
		if err != nil {
			t.Fatal(err)
		}
		if got := onDisk(t, filled); got != "refresh-0" {
			t.Errorf("the file holds %q, want refresh-0", got)
		}
		// The source of the same settings uses it.
		settings.HTTP = newRotator(time.Hour)
		if got := must(t, open(t, settings)).Secret(); got != "access-1" {
			t.Errorf("the token is %q, want access-1", got)
		}
	})
}

// An application with a secret has to prove itself at both endpoints (RFC 8628, 3.1), and
// each takes the header at least (RFC 6749, 2.3.1).
func TestLoginProvesTheApplicationWhereThatIsAskedFor(t *testing.T) {
	proves := func(q *http.Request, form url.Values) map[string]bool {
		id, secret, ok := q.BasicAuth()
		return map[string]bool{
			"nothing":    !ok && form.Get("client_secret") == "",
			"header":     ok && id == "id" && secret == "the+secret" && form.Get("client_secret") == "",
			"parameters": !ok && form.Get("client_secret") == "the secret",
		}
	}
	for _, wanted := range []string{"header", "parameters", "nothing"} {
		synctest.Test(t, func(t *testing.T) {
			e := device(func(int) *http.Response { return nil })
			answer := e.answer
			e.answer = func(q *http.Request, form url.Values) *http.Response {
				here := wanted
				if here == "nothing" && strings.HasSuffix(q.URL.Path, "/token") {
					here = "parameters"
				}
				if !proves(q, form)[here] {
					return says(401, time.Now(), map[string]any{"error": "invalid_client"})
				}
				return answer(q, form)
			}
			settings := withDevice(t, e)
			settings.Provider, settings.TokenURL, settings.DeviceURL = "", "https://login.example.com/token", "https://login.example.com/devicecode"
			settings.ClientSecretFile = filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(settings.ClientSecretFile, []byte("the secret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := Login(context.Background(), settings, func(Prompt) error { return nil }); err != nil {
				t.Errorf("an endpoint that wants %s: %v", wanted, err)
			}
		})
	}
}

func TestLoginEndsWhenItIsRefusedOrNobodyCares(t *testing.T) {
	pending := func(int) *http.Response {
		return says(400, time.Now(), map[string]any{"error": "authorization_pending"})
	}
	for _, c := range []struct {
		name string
		poll func(int) *http.Response
		kind Kind
		want string
	}{
		{"refused", func(int) *http.Response { return says(400, time.Now(), map[string]any{"error": "access_denied"}) }, InvalidGrant, "refused the login"},
		{"refused, as Microsoft says it", func(int) *http.Response {
			return says(400, time.Now(), map[string]any{"error": "authorization_declined"})
		}, InvalidGrant, "refused the login"},
		{"the endpoint ends the code", func(int) *http.Response { return says(400, time.Now(), map[string]any{"error": "expired_token"}) }, InvalidGrant, "before the code's end"},
		{"nobody", pending, InvalidGrant, "before the code's end"},
		{"no refresh token", func(int) *http.Response {
			return says(200, time.Now(), map[string]any{"access_token": "access", "expires_in": 3600})
		}, Rejected, "offline_access"},
		{"another error", func(int) *http.Response {
			return says(400, time.Now(), map[string]any{"error": "invalid_client", "error_description": "AADSTS7000218: x"})
		}, InvalidClient, "Allow public client flows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				settings := withDevice(t, device(c.poll))
				began := time.Now()
				err := Login(context.Background(), settings, func(Prompt) error { return nil })
				var typed *Error
				if !errors.As(err, &typed) || typed.Kind != c.kind || !strings.Contains(err.Error(), c.want) {
					t.Errorf("the error is %v, want one of kind %v with %q", err, c.kind, c.want)
				}
				if strings.Contains(err.Error(), "the-device-code") || strings.Contains(err.Error(), "WDJB") {
					t.Errorf("the error holds a code: %v", err)
				}
				if waited := time.Since(began); waited > 16*time.Minute {
					t.Errorf("the login took %v, want an end with the code", waited)
				}
				if _, err := os.Stat(filepath.Join(settings.StateDir, "office.token")); err == nil {
					t.Error("a token was stored, want none")
				}
			})
		})
	}
}

func TestLoginEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		settings := withDevice(t, device(func(int) *http.Response {
			return says(400, time.Now(), map[string]any{"error": "authorization_pending"})
		}))
		err := Login(ctx, settings, func(Prompt) error {
			time.AfterFunc(time.Minute, cancel)
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v, want that of the context", err)
		}
		stop := errors.New("no terminal")
		if err := Login(context.Background(), settings, func(Prompt) error { return stop }); err != stop {
			t.Errorf("the error is %v, want that of the prompt", err)
		}
	})
}

func TestLoginShowsNothingThatControlsATerminal(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"an escape in the address": func(m map[string]any) { m["verification_uri"] = "https://example.com/\x1b]0;x\x07" },
		"an escape in the code":    func(m map[string]any) { m["user_code"] = "A\x1b[2J" },
		"a line end":               func(m map[string]any) { m["user_code"] = "A\nB" },
		"no address":               func(m map[string]any) { m["verification_uri"] = "run this" },
		"another scheme":           func(m map[string]any) { m["verification_uri"] = "file:///etc/passwd" },
		"no code":                  func(m map[string]any) { delete(m, "user_code") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &endpoint{answer: func(*http.Request, url.Values) *http.Response {
					body := map[string]any{"device_code": "d", "user_code": "A", "verification_uri": "https://example.com/", "expires_in": 900}
					change(body)
					return says(200, time.Now(), body)
				}}
				err := Login(context.Background(), withDevice(t, e), func(p Prompt) error {
					t.Errorf("%q was shown, want nothing", p)
					return errors.New("shown")
				})
				var typed *Error
				if !errors.As(err, &typed) || typed.Kind != Rejected {
					t.Errorf("the error is %v, want that of a useless reply", err)
				}
			})
		})
	}
}

func TestLoginFindsOutFirstWhetherItsTokenCanBeStored(t *testing.T) {
	e := device(func(int) *http.Response { return nil })
	settings := withDevice(t, e)
	settings.StateDir = file(t, "not-a-directory", "")
	if err := Login(context.Background(), settings, func(Prompt) error { return nil }); err == nil || e.count() != 0 {
		t.Errorf("after %d requests the error is %v, want one before the first request", e.count(), err)
	}
}
