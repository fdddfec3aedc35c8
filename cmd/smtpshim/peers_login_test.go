//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"smtpshim/proxy/smtptest/real"
)

// The secrets that these tests choose themselves.
const (
	clientPassword = "short-made-up"              // with which clients log in to us
	serverPassword = "long+made/up=password&more" // with which we log in to servers
	endpointSecret = "made+up/secret=of&the-application"
)

// A jwtEndpoint gives out tokens for scanner@example.com.
type jwtEndpoint struct {
	url string

	mu     sync.Mutex
	key    *real.TokenKey
	claims map[string]any // more of them
	secret string         // of the application
	given  []string
}

func startJWTEndpoint(t *testing.T, ca *real.CA, key *real.TokenKey) *jwtEndpoint {
	t.Helper()
	e := &jwtEndpoint{key: key, secret: endpointSecret}
	e.url = serveTLS(t, ca, e)
	return e
}

// serveTLS serves HTTPS with a certificate of ca's until the test ends.
func serveTLS(t *testing.T, ca *real.CA, handler http.Handler) (url string) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(ca.Issue(t, "127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// ServeHTTP is for client credentials (RFC 6749, 4.4).
func (e *jwtEndpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	e.mu.Lock()
	defer e.mu.Unlock()
	r.ParseForm()
	if r.PostForm.Get("client_secret") != e.secret || r.PostForm.Get("grant_type") != "client_credentials" {
		w.WriteHeader(http.StatusUnauthorized)
		json.NewEncoder(w).Encode(map[string]any{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."})
		return
	}
	token, err := e.key.Token("scanner@example.com", time.Now().Add(time.Hour), e.claims)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	e.given = append(e.given, token)
	json.NewEncoder(w).Encode(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3600})
}

// change has further tokens signed with another key, or with more claims.
func (e *jwtEndpoint) change(key *real.TokenKey, claims map[string]any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.key, e.claims = key, claims
}

// renew has the application's secret be another than the account has.
func (e *jwtEndpoint) renew() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.secret = rand.Text()
}

// tokens are those that it gave.
func (e *jwtEndpoint) tokens() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.given)
}

// secretFile writes a secret to a file of its own.
func secretFile(t *testing.T, secret string) string {
	t.Helper()
	name := filepath.Join(real.Dir(t), "secret")
	if err := os.WriteFile(name, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// account is the [[account]] "office" that has its tokens from here.
func (e *jwtEndpoint) account(t *testing.T, ca *real.CA, more string) string {
	t.Helper()
	return fmt.Sprintf("[[account]]\nname = \"office\"\nuser = \"scanner@example.com\"\nmethod = \"oauth\"\nflow = \"client-credentials\"\n"+
		"token_url = %q\nscopes = [\"https://mail.example.com/.default\"]\nclient_id = \"shim\"\nclient_secret_file = %q\nca = %q\n%s\n",
		e.url, secretFile(t, endpointSecret), ca.File, more)
}

// passwordAccount is the [[account]] "office" that has a password.
func passwordAccount(t *testing.T, user, password, more string) string {
	t.Helper()
	return fmt.Sprintf("[[account]]\nname = \"office\"\nuser = %q\nmethod = \"password\"\npassword_file = %q\n%s\n", user, secretFile(t, password), more)
}

// networkLogin is a [[route.login]] for clients of loopback, which need not log in.
func networkLogin() string {
	return "[[route.login]]\naccount = \"office\"\nnetworks = [\"127.0.0.0/8\"]\nsender = \"scanner@example.com\"\n"
}

// userLogin is a [[route.login]] for the user canon: in clear from a network, "" is from
// anywhere and inside TLS.
func userLogin(t *testing.T, network string) string {
	t.Helper()
	text := fmt.Sprintf("[[route.login]]\naccount = \"office\"\nuser = \"canon\"\npassword_file = %q\nntlm_v1 = true\nsender = \"scanner@example.com\"\n",
		secretFile(t, clientPassword))
	if network != "" {
		text += fmt.Sprintf("networks = [%q]\n", network)
	}
	return text
}

// A loginShim logs in for its clients and tells all that it can tell. Its test fails if a
// secret is told.
type loginShim struct {
	shim
	recorded string // where its recordings are
	secrets  func() []string
	events   *heard

	mu   sync.Mutex
	said []string // what clients said in AUTH exchanges
}

// startLoginShim runs smtpshim until the test ends. tokens are those of the account, nil
// if it has none.
func startLoginShim(t *testing.T, o shimOptions, tokens func() []string) *loginShim {
	t.Helper()
	s := &loginShim{recorded: real.Dir(t), events: newHeard()}
	o.logLevel = "debug"
	o.routeSays += fmt.Sprintf("\nrecord = {dir = %q}\n", s.recorded)
	s.shim = startShim(t, o)
	s.secrets = func() []string {
		list := []string{clientPassword, serverPassword, endpointSecret}
		if tokens != nil {
			list = append(list, tokens()...)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return append(list, s.said...)
	}
	ctx, stop := context.WithCancel(t.Context())
	listen(t, ctx, "http://"+s.admin+"/events", s.events, io.Discard)
	t.Cleanup(func() {
		stop()
		s.wantNoSecretTold(t)
	})
	return s
}

// saidInAUTH are what swaks, curl and msmtp print of AUTH exchanges as said.
var saidInAUTH = regexp.MustCompile(`(?m)^ *(?:->|~>|-->|>) (?:AUTH \S+ )?([A-Za-z0-9+/=]{12,})\r?$`)

// keep has what a client said in its AUTH exchange be a secret.
func (s *loginShim) keep(output string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range saidInAUTH.FindAllStringSubmatch(output, -1) {
		s.said = append(s.said, m[1])
	}
}

// wantNoSecretTold looks at everything that the program has told.
func (s *loginShim) wantNoSecretTold(t *testing.T) {
	told := map[string]string{"/events": s.events.String()}
	for _, path := range []string{"/", "/metrics"} {
		response, err := http.Get("http://" + s.admin + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d, %v", path, response.StatusCode, err)
		}
		told[path] = string(text)
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check"}, {"check", "-live"}} {
		text, _ := exec.Command(path, append(args, "-config", s.path)...).CombinedOutput()
		if !strings.Contains(string(text), "office") {
			t.Errorf("smtpshim %s says nothing of the account:\n%s", strings.Join(args, " "), text)
		}
		told[strings.Join(args, " ")] = string(text)
	}
	sessions := func() int { // in which something was said
		return strings.Count(s.log.String(), " msg=session ") - strings.Count(s.log.String(), " outcome=silent ")
	}
	var files []string
	real.Wait(t, "a recording of each session", func() bool {
		files, _ = filepath.Glob(filepath.Join(s.recorded, "*"))
		return len(files) > 0 && len(files) >= sessions()
	})
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		told["recording "+filepath.Base(name)] = string(text)
	}
	told["the log"] = s.log.String()
	for where, what := range told {
		if !strings.Contains(what, "peers") && !strings.HasPrefix(where, "recording ") {
			t.Errorf("%s does not name the route: %.500q", where, what)
		}
	}
	for _, secret := range s.secrets() {
		for _, form := range spellings(secret) {
			for where, what := range told {
				if at := strings.Index(what, form); at >= 0 {
					t.Errorf("%q, which is %q, is in %s: %q", form, secret, where, what[max(0, at-200):min(len(what), at+200)])
				}
			}
		}
	}
}
