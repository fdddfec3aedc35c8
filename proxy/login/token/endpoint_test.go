package token

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// An endpoint is a token endpoint without a network, so that it runs in a
// synctest bubble. answer may block until the request's context ends.
type endpoint struct {
	answer func(*http.Request, url.Values) *http.Response

	mu       sync.Mutex
	requests []url.Values
	under    int // requests under way
	most     int // the most that were under way at once
}

func (e *endpoint) RoundTrip(q *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.requests = append(e.requests, form)
	e.under++
	e.most = max(e.most, e.under)
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.under--
		e.mu.Unlock()
	}()
	reply := e.answer(q, form)
	if reply == nil {
		return nil, q.Context().Err()
	}
	reply.Request = q
	return reply, nil
}

func (e *endpoint) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.requests)
}

// last returns the latest request.
func (e *endpoint) last() url.Values {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.requests[len(e.requests)-1]
}

// says makes a reply with a JSON body and the endpoint's time.
func says(status int, now time.Time, body map[string]any) *http.Response {
	b, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}, "Date": {now.UTC().Format(http.TimeFormat)}},
		Body:   io.NopCloser(strings.NewReader(string(b))),
	}
}

// gives answers every request with a new token of that life.
func gives(life time.Duration) *endpoint {
	var n int
	return &endpoint{answer: func(*http.Request, url.Values) *http.Response {
		n++
		return says(200, time.Now(), map[string]any{"access_token": fmt.Sprintf("token-%d", n), "token_type": "Bearer", "expires_in": int(life / time.Second)})
	}}
}

// refuses answers every request with an error.
func refuses(status int, code, description string) *endpoint {
	return &endpoint{answer: func(*http.Request, url.Values) *http.Response {
		return says(status, time.Now(), map[string]any{"error": code, "error_description": description})
	}}
}

// silent answers no request before its context ends.
func silent() *endpoint {
	return &endpoint{answer: func(q *http.Request, _ url.Values) *http.Response {
		<-q.Context().Done()
		return nil
	}}
}

// file writes a file of a test and returns its name.
func file(t *testing.T, name, content string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// withSecret are settings for client credentials with a secret of their own.
func withSecret(t *testing.T, e http.RoundTripper) (Settings, string) {
	t.Helper()
	hide := "hide-" + rand.Text()
	return Settings{
		Account: "office", Provider: "microsoft", Flow: ClientCredentials, Tenant: "contoso.example",
		ClientID: "id-of-the-application", ClientSecretFile: file(t, "office.secret", hide+"\n"), HTTP: e,
	}, hide
}

// open returns a source that the test closes.
func open(t *testing.T, settings Settings) *Source {
	t.Helper()
	s, err := New(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// must returns a token that is to be had at once or after one request.
func must(t *testing.T, s *Source) Token {
	t.Helper()
	got, err := s.Token(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// fails returns the error of a request that is to fail.
func fails(t *testing.T, s *Source) *Error {
	t.Helper()
	got, err := s.Token(context.Background())
	if err == nil {
		t.Fatalf("there is a token that ends at %v, want an error", got.Expires())
	}
	typed, ok := err.(*Error)
	if !ok {
		t.Fatalf("the error is a %T, want *Error: %v", err, err)
	}
	return typed
}

// lines is a log that any goroutine may write and read.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// copyReply writes a reply of an endpoint to a real connection.
func copyReply(w http.ResponseWriter, reply *http.Response) {
	for key, list := range reply.Header {
		w.Header()[key] = list
	}
	w.WriteHeader(reply.StatusCode)
	if _, err := io.Copy(w, reply.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// replace gives a file another content.
func replace(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
