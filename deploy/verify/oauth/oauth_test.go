// Package oauth has smtpshim log in by the tokens of a real OAuth 2.0 server.
package oauth

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"smtpshim/proxy/smtptest"
)

// An authority is a real OAuth 2.0 server, of people who do not know smtpshim, with the
// storage that it comes with. Its refresh tokens are good once, and a new one ends the
// access token of the one before.
type authority struct {
	*storage.Storage
	provider *op.Provider
	server   *httptest.Server

	mu        sync.Mutex
	life      time.Duration // of access tokens
	live      map[string]bool
	refreshed int
}

// An application may log somebody in by device code, and refresh.
type application struct{ op.Client }

func (application) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeDeviceCode, oidc.GrantTypeRefreshToken}
}

func (a *authority) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := a.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return application{c}, nil
}

func (a *authority) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	id, _, err := a.Storage.CreateAccessToken(ctx, r)
	return id, a.lives(id, ""), err
}

// CreateAccessAndRefreshTokens has the storage remember whose application a device is.
func (a *authority) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, current string) (id, refresh string, end time.Time, err error) {
	if device, ok := r.(*op.DeviceAuthorizationState); ok {
		r = &storage.AuthRequest{ApplicationID: device.ClientID, UserID: device.Subject, Scopes: device.Scopes}
	}
	id, refresh, _, err = a.Storage.CreateAccessAndRefreshTokens(ctx, r, current)
	return id, refresh, a.lives(id, current), err
}

// lives notes a new access token, in the place of those that a refresh token ends.
func (a *authority) lives(id, spent string) (end time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if spent != "" {
		a.refreshed++
		clear(a.live)
	}
	a.live[id] = true
	return time.Now().Add(a.life)
}

// accepts reports whether an access token is one of its own and good.
func (a *authority) accepts(token string) bool {
	text, err := a.provider.Crypto().Decrypt(token)
	id, _, _ := strings.Cut(text, ":")
	a.mu.Lock()
	defer a.mu.Unlock()
	return err == nil && a.live[id]
}

func startAuthority(t *testing.T, life time.Duration) *authority {
	t.Helper()
	a := &authority{life: life, live: map[string]bool{}}
	a.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.provider.ServeHTTP(w, r) }))
	a.server.StartTLS()
	t.Cleanup(a.server.Close)
	a.Storage = storage.NewStorageWithClients(storage.NewUserStore(a.server.URL), map[string]*storage.Client{"shim": storage.WebClient("shim", "made-up-secret")})
	var err error
	a.provider, err = op.NewProvider(&op.Config{
		CryptoKey: [32]byte{1}, AuthMethodPost: true, GrantTypeRefreshToken: true,
		DeviceAuthorization: op.DeviceAuthorizationConfig{Lifetime: time.Minute, PollInterval: time.Second, UserFormPath: "/device", UserCode: op.UserCodeBase20},
	}, a, op.StaticIssuer(a.server.URL))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// say says lines to a mail server, each once the one before is answered, and gives all
// that it answers.
func say(t *testing.T, address string, lines ...string) (heard string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	replies := bufio.NewReader(conn)
	for _, line := range append([]string{""}, lines...) {
		if line != "" {
			fmt.Fprintf(conn, "%s\r\n", line)
		}
		for more := true; more; {
			reply, err := replies.ReadString('\n')
			if err != nil {
				t.Fatalf("after %q: %v", heard+reply, err)
			}
			heard, more = heard+reply, len(reply) > 3 && reply[3] == '-'
		}
	}
	return heard
}

// program is smtpshim.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "smtpshim-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "smtpshim")
	status := 1
	if out, err := exec.Command("go", "build", "-C", "../../..", "-buildvcs=false", "-o", program, "./cmd/smtpshim").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
	} else {
		status = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(status)
}

// A site is a smtpshim that logs in at a mail server by the authority's tokens.
type site struct {
	t               *testing.T
	dir, program    string
	config, address string
	mail            *smtptest.Running
	log             lockedBuffer
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newSite(t *testing.T, a *authority, user, account, secret string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), program: program}
	s.config = filepath.Join(s.dir, "smtpshim.toml")
	row, _ := smtptest.LookupServer("gmail") // which knows both mechanisms
	certificate, _, err := smtptest.Certificate("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	row.User, row.Accepts, row.TLS = user, a.accepts, &tls.Config{Certificates: []tls.Certificate{certificate}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.mail = row.Start(l)
	t.Cleanup(func() { s.mail.Close() })
	free, err := net.Listen("tcp", smtptest.Loopback()+":0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = free.Addr().String()
	free.Close()
	var authorities []byte
	for _, der := range [][]byte{a.server.Certificate().Raw, certificate.Certificate[0]} {
		authorities = append(authorities, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	s.write("ca.pem", string(authorities))
	s.write("secret", secret+"\n")
	s.write("smtpshim.toml", fmt.Sprintf("state_dir = \"state\"\nadmin.listen = \"\"\n[[account]]\nname = \"office\"\nuser = %q\nmethod = \"oauth\"\n"+
		"token_url = \"%s/oauth/token\"\nscopes = [\"openid\", \"offline_access\"]\nclient_secret_file = \"secret\"\nca = \"ca.pem\"\n%s"+
		"[[route]]\nname = \"in\"\nlisten = [%q]\nservers = [%q]\nserver_tls = {mode = \"require\", ca = \"ca.pem\"}\n[[route.login]]\naccount = \"office\"\nnetworks = [\"127.0.0.0/8\"]\n",
		user, a.server.URL, account, s.address, s.mail.Addr()))
	return s
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// run runs smtpshim until the test ends.
func (s *site) run() {
	s.t.Helper()
	c := exec.Command(s.program, "run", "-config", s.config)
	c.Stderr = &s.log
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
		if s.t.Failed() {
			s.t.Log(s.log.String())
		}
	})
	s.logged("msg=started")
}

// logged waits for words in the log.
func (s *site) logged(words string) {
	s.t.Helper()
	for late := time.Now().Add(time.Minute); !strings.Contains(s.log.String(), words); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			s.t.Fatalf("%q is not logged", words)
		}
	}
}

// sends sends a message, and wants it to be taken.
func (s *site) sends() {
	s.t.Helper()
	heard := say(s.t, s.address, "EHLO scanner.example.com", "MAIL FROM:<scanner@example.com>", "RCPT TO:<ben@example.net>", "DATA", "Subject: x\r\n\r\nx\r\n.", "QUIT")
	if !strings.Contains(heard, "250 2.0.0 OK  1733221044") {
		s.t.Fatalf("the client hears\n%s", heard)
	}
}

func TestARealProviderGivesTokensToAnApplication(t *testing.T) {
	a := startAuthority(t, time.Hour)
	s := newSite(t, a, "scanner@example.com", "flow = \"client-credentials\"\nclient_id = \"sid1\"\n", "verysecret")
	s.run()
	for range 3 {
		s.sends()
	}
	if n := len(s.mail.Messages()); n != 3 {
		t.Errorf("%d messages at the server", n)
	}
	if len(a.live) != 1 {
		t.Errorf("%d tokens were given for all", len(a.live))
	}
}

func TestARealProviderRefusesASecretThatIsWrong(t *testing.T) {
	s := newSite(t, startAuthority(t, time.Hour), "scanner@example.com", "flow = \"client-credentials\"\nclient_id = \"sid1\"\n", "another-made-up-secret")
	s.run()
	heard := say(t, s.address, "EHLO scanner.example.com", "MAIL FROM:<scanner@example.com>", "QUIT")
	if !strings.Contains(heard, "\n535 5.7.8 ") {
		t.Errorf("the client hears\n%s", heard)
	}
	s.logged("client is not accepted")
	if said := s.log.String(); strings.Contains(said, "another-made-up-secret") {
		t.Errorf("the secret is in\n%s", said)
	}
}

var userCode = regexp.MustCompile(`[A-Z]{4}-[A-Z]{4}`)

func TestARealProviderLogsSomebodyInByDeviceCodeAndRotatesRefreshTokens(t *testing.T) {
	a := startAuthority(t, 3*time.Second) // it counts in whole ones
	s := newSite(t, a, "test-user@example.com", fmt.Sprintf("flow = \"refresh-token\"\nclient_id = \"shim\"\ndevice_url = \"%s/device_authorization\"\n", a.server.URL), "made-up-secret")
	login := exec.Command(s.program, "login", "-config", s.config, "office")
	out, err := login.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	login.Stderr = &s.log
	if err := login.Start(); err != nil {
		t.Fatal(err)
	}
	var code string
	for lines := bufio.NewScanner(out); code == "" && lines.Scan(); {
		code = userCode.FindString(lines.Text())
	}
	if err := a.CompleteDeviceAuthorization(t.Context(), code, "id1"); err != nil {
		login.Process.Kill()
		t.Errorf("code %q: %v", code, err)
	}
	io.Copy(io.Discard, out)
	if err := login.Wait(); err != nil {
		t.Fatalf("login: %v\n%s", err, s.log.String())
	}
	s.run()
	sent, late := 0, time.Now().Add(time.Minute)
	for rotated := 0; rotated < 3; sent++ {
		s.sends()
		a.mu.Lock()
		rotated = a.refreshed
		a.mu.Unlock()
		if time.Now().After(late) {
			t.Fatalf("%d refresh tokens were spent", rotated)
		}
	}
	if n := len(s.mail.Messages()); n != sent {
		t.Errorf("%d messages at the server, not %d", n, sent)
	}
}
