package main

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"smtpshim/proxy/smtptest"
)

// A provider is a mail server that wants a token, and the endpoint that gives it.
type provider struct {
	dir       string // with office.secret and ca.pem
	mail      string
	endpoint  string
	requests  atomic.Int32 // for a token
	token     atomic.Pointer[string]
	refuses   atomic.Bool // every login
	repeats   atomic.Bool // in refusals what it was told
	lastLogin atomic.Pointer[string]
}

func startProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{dir: t.TempDir()}
	first := "first-made-up-token"
	p.token.Store(&first)
	endpoint := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		w.Header().Set("Content-Type", "application/json")
		r.ParseForm()
		if _, secret, _ := r.BasicAuth(); cmp.Or(r.PostForm.Get("client_secret"), secret) != "made-up-secret" {
			w.WriteHeader(http.StatusUnauthorized)
			json.NewEncoder(w).Encode(map[string]any{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided." + p.repeated(cmp.Or(r.PostForm.Get("client_secret"), secret))})
			return
		}
		answer := map[string]any{"access_token": *p.token.Load(), "token_type": "Bearer", "expires_in": 3600}
		if r.PostForm.Get("grant_type") == "refresh_token" {
			answer["refresh_token"] = "next-made-up-refresh-token"
		}
		json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(endpoint.Close)
	certificate, _, err := smtptest.Certificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	p.mail = serveEach(t, func(conn net.Conn) {
		p.serve(tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}}))
	})
	p.endpoint = endpoint.URL
	write(t, filepath.Join(p.dir, "office.secret"), "made-up-secret\n")
	var authorities []byte
	for _, der := range [][]byte{endpoint.Certificate().Raw, certificate.Certificate[len(certificate.Certificate)-1]} {
		authorities = append(authorities, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "ca.pem"), authorities, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// serve says yes to everything behind a login by XOAUTH2.
func (p *provider) serve(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	said := func(line string) string { fmt.Fprintf(conn, "%s\r\n", line); lines.Scan(); return lines.Text() }
	in, answer := false, "220 mail.example.com ready"
	for line := said(answer); line != ""; line = said(answer) {
		switch verb := strings.ToUpper(line); {
		case strings.HasPrefix(verb, "EHLO"):
			answer = "250-mail.example.com\r\n250 AUTH LOGIN PLAIN XOAUTH2"
		case strings.HasPrefix(verb, "AUTH PLAIN "):
			p.lastLogin.Store(&line)
			if in = !p.refuses.Load(); in {
				answer = "235 2.7.0 Authentication successful"
			} else {
				text, _ := base64.StdEncoding.DecodeString(line[len("AUTH PLAIN "):])
				answer = "535 5.7.3 Authentication unsuccessful" + p.repeated(line, strings.ReplaceAll(string(text), "\x00", " "))
			}
		case strings.HasPrefix(verb, "AUTH XOAUTH2 "):
			text, _ := base64.StdEncoding.DecodeString(line[len("AUTH XOAUTH2 "):])
			login := string(text)
			p.lastLogin.Store(&login)
			if in = !p.refuses.Load() && login == "user=scanner@example.com\x01auth=Bearer "+*p.token.Load()+"\x01\x01"; in {
				answer = "235 2.7.0 Authentication successful"
			} else {
				answer = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox." + p.repeated(line)
			}
		case verb == "QUIT":
			fmt.Fprint(conn, "221 bye\r\n")
			return
		case !in:
			answer = "530 5.7.57 Client not authenticated to send mail."
		case verb == "DATA":
			for line = said("354 go"); line != "."; line = said("") {
			}
			answer = "250 2.0.0 queued"
		default:
			answer = "250 2.1.0 " + line
		}
	}
}

// repeated is what the provider repeats in a refusal.
func (p *provider) repeated(told ...string) string {
	if !p.repeats.Load() {
		return ""
	}
	return " You said: " + strings.Join(told, ", ")
}

// account is its account, in the configuration.
func (p *provider) account(more string) string {
	return fmt.Sprintf("[[account]]\nname = \"office\"\nuser = \"scanner@example.com\"\nmethod = \"oauth\"\nflow = \"client-credentials\"\n"+
		"token_url = %q\nscopes = [\"mail\"]\nclient_id = \"shim\"\nclient_secret_file = %q\nca = %q\n%s", p.endpoint,
		filepath.Join(p.dir, "office.secret"), filepath.Join(p.dir, "ca.pem"), more)
}

// signed is an account that proves itself to this endpoint by a certificate, which is in
// the files cert.pem and key.pem of a folder.
func signed(endpoint, dir string) string {
	return fmt.Sprintf("[[account]]\nname = \"signed\"\nuser = \"signed@example.com\"\nmethod = \"oauth\"\nflow = \"client-credentials\"\n"+
		"token_url = %q\nscopes = [\"mail\"]\nclient_id = \"shim\"\nclient_certificate = %q\nclient_key = %q\n", endpoint, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
}

// route is what a route has that logs in for clients of this machine.
func (p *provider) route() string {
	return fmt.Sprintf("server_tls = {mode = \"implicit\", ca = %q}\n[[route.login]]\naccount = \"office\"\nnetworks = [\"127.0.0.0/8\"]\n"+
		"sender = \"scanner@example.com\"\n", filepath.Join(p.dir, "ca.pem"))
}

// startLogins runs serve with the account, and a route that uses it.
func startLogins(t *testing.T, p *provider) (r *running, address string) {
	t.Helper()
	address = freeAddress(t)
	r = &running{t: t, route: p.route(), path: filepath.Join(t.TempDir(), "smtpshim.toml"), admin: freeAddress(t)}
	r.configure(address, p.mail, p.account(""))
	r.serve()
	return r, address
}

func sendAsScanner(t *testing.T, address, wants string) {
	t.Helper()
	say := connect(t, address)
	say("EHLO scanner.example.com", "250-mail.example.com")
	say("", "250 AUTH LOGIN PLAIN")
	say("MAIL FROM:<copier@example.org>", wants)
	say("QUIT", "221")
}

func TestAnAccountOfTheConfigurationLogsIn(t *testing.T) {
	p := startProvider(t)
	r, address := startLogins(t, p)
	for range 3 {
		sendAsScanner(t, address, "250 2.1.0 MAIL FROM:<scanner@example.com>")
	}
	if n := p.requests.Load(); n != 1 {
		t.Errorf("%d requests for a token, want 1 for all sessions", n)
	}
	r.signals <- syscall.SIGTERM
	if status := r.ended(); status != succeeded {
		t.Errorf("exit status %d", status)
	}
}

func TestAReloadKeepsTheTokenOfAnAccountThatStays(t *testing.T) {
	p := startProvider(t)
	r, address := startLogins(t, p)
	sendAsScanner(t, address, "250")
	r.configure(address, p.mail, p.account("")+"\nsessions = 7\n") // another account, of the same name
	second := "second-made-up-token"
	p.token.Store(&second)
	r.reloaded()
	sendAsScanner(t, address, "250")
	if n := p.requests.Load(); n != 2 {
		t.Errorf("%d requests for a token, want one for each account", n)
	}
	r.configure(address, p.mail, "# changed\n"+p.account("")+"\nsessions = 7\n")
	r.reloaded()
	sendAsScanner(t, address, "250")
	if n := p.requests.Load(); n != 2 {
		t.Errorf("%d requests for a token: a reload that does not change the account makes one more", n)
	}
}

func TestTheLogSaysWhatARefusedLoginMeansAndNoSecret(t *testing.T) {
	p := startProvider(t)
	p.refuses.Store(true)
	r, address := startLogins(t, p)
	sendAsScanner(t, address, "454") // the token may have been the fault
	sendAsScanner(t, address, "535 5.7.8")
	seen := strings.Join(append(r.logged("SMTP AUTH is turned off for this mailbox"), r.logged("msg=session")...), "\n")
	for _, secret := range []string{"made-up", base64.StdEncoding.EncodeToString([]byte(*p.lastLogin.Load()))} {
		if strings.Contains(seen, secret) {
			t.Errorf("%q is in\n%s", secret, seen)
		}
	}
}
