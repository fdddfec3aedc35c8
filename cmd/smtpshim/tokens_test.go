package main

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"smtpshim/proxy/smtptest"
)

// tokenFault is what is wrong with a token endpoint; "": nothing.
type tokenFault string

// A tokenEndpoint gives tokens of a flow, keeps count, and may be wrong. Over plain
// HTTP, which is allowed to loopback.
type tokenEndpoint struct {
	url  string
	life int           // of tokens, in seconds
	off  time.Duration // of its clock

	mu       sync.Mutex
	fault    tokenFault
	release  chan struct{} // lets requests go on that "silent" holds
	requests int
	under    int // way
	most     int // under way at once
	refresh  int // the number of the one that is good
	twice    bool
}

// accessToken is what the mail server takes: any request gets the same, so that those
// that sessions hold stay good.
const accessToken = "made-up-access-token"

func startTokenEndpoint(t *testing.T) *tokenEndpoint {
	t.Helper()
	e := &tokenEndpoint{life: 3600, release: make(chan struct{})}
	server := httptest.NewServer(e)
	e.url = server.URL
	t.Cleanup(func() {
		e.breaks("")
		server.CloseClientConnections()
		server.Close()
	})
	return e
}

// breaks has it be wrong from now on, and lets go of whom it holds.
func (e *tokenEndpoint) breaks(f tokenFault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.release)
	e.fault, e.release = f, make(chan struct{})
}

func (e *tokenEndpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.ParseForm()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Date", time.Now().Add(e.off).UTC().Format(http.TimeFormat))
	if r.URL.Path == "/device" {
		json.NewEncoder(w).Encode(map[string]any{"device_code": "made-up-device-code", "user_code": "ABCD-EFGH", "verification_uri": "https://login.example.com/device", "interval": 1, "expires_in": 60})
		return
	}
	e.mu.Lock()
	e.requests++
	e.under++
	e.most = max(e.most, e.under)
	fault, release := e.fault, e.release
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.under--
	}()
	if fault == "silent" {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return
	}
	if e.wrong(w, fault) {
		return
	}
	e.grant(w, r)
}

// wrong answers as the fault has it.
func (e *tokenEndpoint) wrong(w http.ResponseWriter, fault tokenFault) bool {
	refuses := func(code int, text string) bool {
		w.WriteHeader(code)
		json.NewEncoder(w).Encode(map[string]any{"error": text, "error_description": "made up"})
		return true
	}
	switch fault {
	case "":
		return false
	case "500", "503":
		w.WriteHeader(map[tokenFault]int{"500": 500, "503": 503}[fault])
	case "a page":
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html>Log in to the hotspot</html>")
	case "no token":
		fmt.Fprint(w, `{"token_type":"Bearer"}`)
	case "cut off":
		w.Header().Set("Content-Length", "400")
		fmt.Fprint(w, `{"access_tok`)
	default:
		return refuses(http.StatusBadRequest, string(fault))
	}
	return true
}

// grant gives a token to whom it belongs. A refresh token is good once.
func (e *tokenEndpoint) grant(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	good := map[string]any{"access_token": accessToken, "token_type": "Bearer", "expires_in": e.life}
	spent := r.PostForm.Get("refresh_token")
	switch r.PostForm.Get("grant_type") {
	case "refresh_token":
		if spent != fmt.Sprintf("made-up-refresh-%d", e.refresh) {
			e.twice = true
			w.WriteHeader(http.StatusBadRequest)
			json.NewEncoder(w).Encode(map[string]any{"error": "invalid_grant"})
			return
		}
		fallthrough
	case "urn:ietf:params:oauth:grant-type:device_code":
		e.refresh++
		good["refresh_token"] = fmt.Sprintf("made-up-refresh-%d", e.refresh)
	case "client_credentials":
		if assertion := r.PostForm.Get("client_assertion"); assertion != "" && !e.inTime(assertion) {
			w.WriteHeader(http.StatusUnauthorized)
			json.NewEncoder(w).Encode(map[string]any{"error": "invalid_client", "error_description": "AADSTS700024: Client assertion is not within its valid time range."})
			return
		}
	}
	json.NewEncoder(w).Encode(good)
}

// inTime reports whether an assertion is valid now, by the endpoint's clock.
func (e *tokenEndpoint) inTime(assertion string) bool {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return false
	}
	text, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct{ Nbf, Iat, Exp int64 }
	now := time.Now().Add(e.off).Unix()
	return json.Unmarshal(text, &claims) == nil && max(claims.Nbf, claims.Iat) <= now+60 && now < claims.Exp
}

// counted are the requests so far, how many of them were under way at once, whether a
// refresh token was spent twice, and the one that is good.
func (e *tokenEndpoint) counted() (requests, most int, twice bool, refresh string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.requests, e.most, e.twice, fmt.Sprintf("made-up-refresh-%d", e.refresh)
}

// startOffice is Microsoft 365 with that token, and the TLS of a route to it.
func startOffice(t *testing.T, change func(*smtptest.Server)) (s *smtptest.Running, serverTLS string) {
	t.Helper()
	row, _ := smtptest.LookupServer("microsoft-365")
	row.Token, row.User = accessToken, "scanner@example.com"
	fingerprint, err := secure(&row)
	if err != nil {
		t.Fatal(err)
	}
	row.TLS.MinVersion = tls.VersionTLS13
	if change != nil {
		change(&row)
	}
	l, err := net.Listen("tcp", smtptest.Loopback()+":0")
	if err != nil {
		t.Fatal(err)
	}
	s = row.Start(l)
	t.Cleanup(func() { s.Close() })
	return s, fmt.Sprintf("server_tls = {mode = \"require\", pins = [%q]}\n", fingerprint)
}

// accountAt is an account whose tokens the endpoint gives.
func (e *tokenEndpoint) accountAt(dir, flow, more string) string {
	text := fmt.Sprintf("[[account]]\nname = \"office\"\nuser = \"scanner@example.com\"\nmethod = \"oauth\"\nflow = %q\ntoken_url = %q\nscopes = [\"mail\"]\nclient_id = \"shim\"\n%s", flow, e.url+"/token", more)
	if flow == "refresh-token" {
		text += fmt.Sprintf("device_url = %q\n", e.url+"/device")
	} else if !strings.Contains(more, "client_certificate") {
		text += fmt.Sprintf("client_secret_file = %q\n", filepath.Join(dir, "office.secret"))
	}
	return text
}

const loopbackLogin = "[[route.login]]\naccount = \"office\"\nnetworks = [\"127.0.0.0/8\"]\n"

// startWithTokens runs serve with an account of a flow, in front of the server.
func startWithTokens(t *testing.T, e *tokenEndpoint, to *smtptest.Running, serverTLS, flow, account string) (r *running, address string) {
	t.Helper()
	address = freeAddress(t)
	r = &running{t: t, path: filepath.Join(t.TempDir(), "smtpshim.toml"), admin: freeAddress(t), route: serverTLS + loopbackLogin}
	writeRecipeFiles(t, filepath.Dir(r.path))
	r.configure(address, to.Addr(), "state_dir = \"state\"\n"+e.accountAt(filepath.Dir(r.path), flow, account))
	if flow == "refresh-token" {
		if status, _, err := call("login", "-config", r.path, "office"); status != succeeded {
			t.Fatal(err)
		}
	}
	r.serve()
	return r, address
}
