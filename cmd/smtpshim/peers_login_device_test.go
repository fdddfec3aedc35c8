//go:build linux

package main

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"smtpshim/proxy/smtptest/real"
)

// A deviceEndpoint gives tokens to whoever has had a code confirmed (RFC 8628), and with
// each access token a new refresh token; the one before is no good any more.
type deviceEndpoint struct {
	*jwtEndpoint
	code    string
	refresh string // that is good
	polls   int
}

// ServeHTTP answers the requests of a device and of a client with a refresh token.
func (e *deviceEndpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	r.ParseForm()
	say := func(status int, answer map[string]any) {
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(answer)
	}
	right := false
	switch r.PostForm.Get("grant_type") {
	case "":
		say(http.StatusOK, map[string]any{"device_code": e.code, "user_code": "WDJB-MJHT", "verification_uri": "https://login.example.com/device",
			"expires_in": 600, "interval": 1})
		return
	case "urn:ietf:params:oauth:grant-type:device_code":
		if e.polls++; e.polls == 1 {
			say(http.StatusBadRequest, map[string]any{"error": "authorization_pending"})
			return
		}
		right = r.PostForm.Get("device_code") == e.code
	case "refresh_token":
		right = e.refresh != "" && r.PostForm.Get("refresh_token") == e.refresh
	}
	token, err := e.key.Token("scanner@example.com", time.Now().Add(time.Hour), nil)
	if !right || err != nil {
		say(http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	e.refresh = "refresh+" + rand.Text()
	e.given = append(e.given, token, e.refresh)
	say(http.StatusOK, map[string]any{"access_token": token, "refresh_token": e.refresh, "token_type": "Bearer", "expires_in": 3600})
}

// Somebody logs in once, by a code, while the service runs; from then on it sends with
// refresh tokens that change each time.
func TestAfterALoginByCodeMailIsSent(t *testing.T) {
	t.Parallel()
	ca, key := real.NewCA(t), real.NewTokenKey(t)
	to := real.Postfix(t, real.Options{CA: ca, TokenKey: key.File})
	endpoint := &deviceEndpoint{jwtEndpoint: &jwtEndpoint{key: key}, code: "device+" + rand.Text()}
	endpoint.url = serveTLS(t, ca, endpoint)
	account := "[[account]]\nname = \"office\"\nuser = \"scanner@example.com\"\nmethod = \"oauth\"\nflow = \"refresh-token\"\nclient_id = \"shim\"\n" +
		"token_url = \"" + endpoint.url + "/token\"\ndevice_url = \"" + endpoint.url + "/device\"\nscopes = [\"mail\"]\nca = \"" + ca.File + "\"\n"
	secrets := func() []string { return append(endpoint.tokens(), endpoint.code) }
	s := startLoginShim(t, shimOptions{server: to.Addr, ca: ca, serverTLS: "require", says: account, loginSays: networkLogin()}, secrets)
	s.wantRefused(t, "535 5.7.8 the token endpoint refuses this account")

	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	told, err := exec.CommandContext(t.Context(), path, "login", "-config", s.path, "office").CombinedOutput()
	if err != nil || !strings.Contains(string(told), "WDJB-MJHT") {
		t.Errorf("%v: %s", err, told)
	}
	for _, secret := range secrets() {
		if strings.Contains(string(told), secret) {
			t.Errorf("%q is in %s", secret, told)
		}
	}
	real.Wait(t, "swaks to send a message", func() bool {
		_, status := swaksSends().send(t, s.addr)
		return status == 0
	})
	wantStored(t, to, 1, "hello")
	kept := filepath.Join(filepath.Dir(s.path), "state", "office.token")
	text, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	if list := endpoint.tokens(); !strings.Contains(string(text), list[len(list)-1]) {
		t.Errorf("%s has another refresh token than the last", kept)
	}
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
