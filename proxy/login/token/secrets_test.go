package token

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// printings returns v as every way of printing shows it.
func printings(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	for _, verb := range "vsqxXdTtpbocUeg" {
		fmt.Fprintf(&b, "%"+string(verb)+" %+"+string(verb)+" %#"+string(verb)+"\n", v, v, v)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(h).Info("it", "value", v)
	}
	j, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(j)
	return b.String()
}

func TestPrintingATokenHidesIt(t *testing.T) {
	const hide = "hunter2"
	token := newToken(hide, time.Now())
	type inside struct{ token Token }
	for _, v := range []any{token, &token, []Token{token}, inside{token}, &inside{token}, map[string]Token{"a": token},
		newSecret(hide), struct{ s secret }{newSecret(hide)}, grant{access: "x", refresh: newSecret(hide)}} {
		text := printings(t, v)
		for _, form := range []string{hide, fmt.Sprintf("%x", hide), fmt.Sprintf("%X", hide)} {
			if strings.Contains(text, form) {
				t.Errorf("printing a %T shows the token: %s", v, text)
			}
		}
	}
	if token.Secret() != hide {
		t.Errorf("Secret returns %q, want %q", token.Secret(), hide)
	}
}

// An endpoint that repeats what it was sent, in every place where it can, is the
// worst case: no error, and no log line, may pass it on.
func TestErrorsAndLogsHoldNoSecretThatAnEndpointRepeats(t *testing.T) {
	for _, status := range []int{200, 302, 400, 401, 429, 503} {
		for _, media := range []string{"application/json", "text/plain", "text/html"} {
			for _, length := range []int{8, 26, 80} {
				t.Run(fmt.Sprint(status, media, length), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { repeats(t, status, media, length) })
				})
			}
		}
	}
}

func repeats(t *testing.T, status int, media string, length int) {
	fresh := rand.Text() + rand.Text()
	e := &endpoint{}
	e.answer = func(_ *http.Request, form url.Values) *http.Response {
		said := form.Get("client_secret")
		if said == "" {
			said = "none"
		}
		reply := says(status, time.Now(), map[string]any{
			"error": said, "error_description": "AADSTS7000215: wrong: " + said + " and\n" + url.QueryEscape(said) + " not " + fresh,
			"error_uri": "https://example.com/" + said, "access_token": fresh, "refresh_token": fresh,
		})
		reply.Status = said
		reply.Header.Set("Content-Type", media)
		reply.Header.Set("Location", "https://example.com/"+said)
		if media == "text/plain" {
			reply.Body = io.NopCloser(strings.NewReader(url.Values{"error": {said}, "error_description": {said}, "access_token": {fresh}}.Encode()))
		}
		if media == "text/html" {
			reply.Body = io.NopCloser(strings.NewReader("<p>" + said + fresh))
		}
		return reply
	}
	settings, _ := withSecret(t, e)
	settings.Provider, settings.TokenURL = "", "https://login.example.com/token"
	hide := "h!de/+&" + strings.Repeat("x y", length)[:length]
	settings.ClientSecretFile = file(t, "secret", hide)
	var log bytes.Buffer
	settings.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := open(t, settings)
	err := fails(t, s)
	var typed *Error
	if !errors.As(error(err), &typed) {
		t.Fatalf("the error is a %T, want *Error", err)
	}
	text := err.Error() + printings(t, *err) + log.String() + printings(t, s.State())
	for _, form := range []string{hide, url.QueryEscape(hide), url.PathEscape(hide), quoted(hide), fresh} {
		if strings.Contains(text, form) {
			t.Errorf("the secret is in:\n%s", text)
		}
	}
}
