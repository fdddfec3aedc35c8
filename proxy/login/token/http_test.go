package token

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"smtpshim/rewrite/vocabulary"
)

// served starts an endpoint with TLS, and returns settings that trust it.
func served(t *testing.T, answer http.HandlerFunc, change func(*tls.Config)) (Settings, *httptest.Server) {
	t.Helper()
	server := httptest.NewUnstartedServer(answer)
	server.TLS = &tls.Config{}
	if change != nil {
		change(server.TLS)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	settings, _ := withSecret(t, nil)
	settings.HTTP = nil
	settings.TokenURL = server.URL + "/token"
	settings.CA = file(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return settings, server
}

func good(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"access_token":"good","token_type":"Bearer","expires_in":3600}`)
}

func TestEndpointIsReachedByTLSThatItsAuthorityVerifies(t *testing.T) {
	settings, _ := served(t, good, nil)
	if got := must(t, open(t, settings)).Secret(); got != "good" {
		t.Errorf("the token is %q, want good", got)
	}
	settings.CA = ""
	if err := fails(t, open(t, settings)); err.Kind != Unreachable || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the authority the error is %v, want that of the certificate", err)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	settings, _ := served(t, good, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
	if err := fails(t, open(t, settings)); err.Kind != Unreachable {
		t.Errorf("the error is %v, want an unreachable endpoint", err)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var elsewhere atomic.Int32
		settings, _ := served(t, func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path != "/token" {
				elsewhere.Add(1)
				good(w, q)
				return
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		}, nil)
		err := fails(t, open(t, settings))
		if err.Kind != Rejected || err.Status != status || elsewhere.Load() != 0 {
			t.Errorf("%d: after %d requests elsewhere the error is %v, want one that names the redirect", status, elsewhere.Load(), err)
		}
	}
}

func TestEndpointsThatBreakAreErrorsOfTheirKind(t *testing.T) {
	text := func(status int, media, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", media)
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		kind   Kind
	}{
		{"a page for people", text(200, "text/html", "<html>Log in to the Wi-Fi"), Rejected},
		{"an empty reply", text(200, "application/json", ""), Rejected},
		{"no token", text(200, "application/json", "{}"), Rejected},
		{"a token with a space", text(200, "application/json", `{"access_token":"a b"}`), Rejected},
		{"a token with a control character", text(200, "application/json", `{"access_token":"a\u0001b"}`), Rejected},
		{"a token of another type", text(200, "application/json", `{"access_token":"ab","token_type":"mac"}`), Rejected},
		{"a token that is too long", text(200, "application/json", `{"access_token":"`+strings.Repeat("x", maxToken+1)+`"}`), Rejected},
		{"JSON that is cut short", text(200, "application/json", `{"access_token":"a`), Rejected},
		{"not found", text(404, "text/html", "no"), Rejected},
		{"401 without a reason", text(401, "text/html", "no"), InvalidClient},
		{"an error with status 200", text(200, "application/json", `{"error":"invalid_grant"}`), InvalidGrant},
		{"500", text(500, "text/html", "oops"), Unavailable},
		{"503", text(503, "application/json", `{"error":"invalid_client"}`), Unavailable},
		{"429", text(429, "text/plain", ""), Unavailable},
		{"the connection ends", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, Unreachable},
		{"the body ends early", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"access_token":"a`)
		}, Unreachable},
		{"a body without end", func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := io.WriteString(w, strings.Repeat("x", 4096)); err != nil {
					return
				}
			}
		}, Rejected},
		{"a header without end", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 2*maxHeader))
			good(w, nil)
		}, Unreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings, _ := served(t, c.answer, nil)
			if err := fails(t, open(t, settings)); err.Kind != c.kind {
				t.Errorf("the error is %v, of kind %v; want kind %v", err, err.Kind, c.kind)
			}
		})
	}
}

func TestEndpointThatIsNotThereIsUnreachable(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	plainText, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plainText.Close()
	go func() {
		c, err := plainText.Accept()
		if err == nil {
			io.WriteString(c, "220 mail.example.com ESMTP\r\n")
			c.Close()
		}
	}()
	closed.Close()
	for name, address := range map[string]string{"nobody listens": closed.Addr().String(), "no TLS": plainText.Addr().String()} {
		settings, _ := withSecret(t, nil)
		settings.HTTP = nil
		settings.TokenURL = "https://" + address + "/token"
		if err := fails(t, open(t, settings)); err.Kind != Unreachable || err.Err == nil {
			t.Errorf("%s: the error is %v, want an unreachable endpoint with its cause", name, err)
		}
	}
}

func TestRequestsGoThroughTheProxyAlone(t *testing.T) {
	settings, server := served(t, good, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var work sync.WaitGroup
	defer work.Wait()
	lines := make(chan string, 1)
	work.Go(func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		q, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		lines <- q.Method + " " + q.Host + " " + q.Header.Get("Proxy-Authorization")
		up, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		work.Go(func() {
			io.Copy(up, c)
			up.Close()
		})
		io.Copy(c, up)
	})
	// The name does not resolve: only a proxy can reach it.
	settings.ProxyURL = "http://shim:hunter2@" + listener.Addr().String()
	settings.TokenURL = "https://example.com/token" // a name of httptest's certificate
	s := open(t, settings)
	must(t, s)
	if got := <-lines; got != "CONNECT example.com:443 Basic c2hpbTpodW50ZXIy" {
		t.Errorf("the proxy was asked %q", got)
	}
	s.Close()
	server.CloseClientConnections()
}

func TestEndpointThatWantsBasicGetsTheSecretInTheHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var basic, body atomic.Int32
		e := &endpoint{answer: func(q *http.Request, form url.Values) *http.Response {
			if form.Has("client_secret") {
				body.Add(1)
				return says(401, time.Now(), map[string]any{"error": "invalid_client"})
			}
			if _, _, ok := q.BasicAuth(); ok {
				basic.Add(1)
			}
			return says(200, time.Now(), map[string]any{"access_token": "good", "expires_in": 3600})
		}}
		settings, _ := withSecret(t, e)
		settings.Provider, settings.TokenURL = "", "https://login.example.com/token"
		s := open(t, settings)
		must(t, s)
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		if body.Load() != 1 || basic.Load() != 2 {
			t.Errorf("there were %d requests with the secret in the body and %d by Basic, want 1 and 2", body.Load(), basic.Load())
		}
	})
}

// told notes what an observer is told.
type told struct {
	mu       sync.Mutex
	outcomes []string
	expires  []time.Time
}

func (o *told) TokenRequest(account string, outcome vocabulary.TokenOutcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.outcomes = append(o.outcomes, account+" "+string(outcome))
}

func (o *told) TokenExpires(_ string, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expires = append(o.expires, at)
}

func TestObserverIsToldOfEachRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		e := &endpoint{answer: func(*http.Request, url.Values) *http.Response {
			if down.Swap(true) {
				return says(400, time.Now(), map[string]any{"error": "invalid_client", "error_description": "AADSTS7000222: x"})
			}
			return says(200, time.Now(), map[string]any{"access_token": "good", "expires_in": 3600})
		}}
		settings, _ := withSecret(t, e)
		var o told
		settings.Observer = &o
		s := open(t, settings)
		first := must(t, s)
		time.Sleep(49*time.Minute + 31*time.Second) // the renewal begins a timeout earlier than 10 minutes before the end
		synctest.Wait()
		if got := strings.Join(o.outcomes, ","); got != "office ok,office invalid-client" {
			t.Errorf("the observer was told %q", got)
		}
		if len(o.expires) != 1 || !o.expires[0].Equal(first.Expires()) {
			t.Errorf("the observer was told of the ends %v, want %v", o.expires, first.Expires())
		}
	})
}

func TestCloseCancelsTheRequestUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings, _ := withSecret(t, silent())
		s := open(t, settings)
		var caller sync.WaitGroup
		caller.Go(func() {
			var typed *Error
			if _, err := s.Token(context.Background()); !errors.As(err, &typed) || typed.Kind != Closed {
				t.Errorf("the caller got %v, want the error of a closed source", err)
			}
		})
		synctest.Wait()
		began := time.Now()
		s.Close()
		caller.Wait()
		if time.Since(began) != 0 {
			t.Errorf("Close waited %v, want no wait", time.Since(began))
		}
		if s.Refused(newToken("x", time.Now())) || fails(t, s).Kind != Closed {
			t.Error("a closed source gives tokens, want none")
		}
	})
}

func TestAnEndpointThatIsNotReachedComesWithTheKeyThatMayMendIt(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	settings, _ := served(t, good, nil)
	other := file(t, "other.pem", otherAuthority(t))
	for name, c := range map[string]struct {
		change func(*Settings)
		key    string
	}{
		"unknown authority":        {func(s *Settings) { s.CA = "" }, "write ca"},
		"authority not in the ca":  {func(s *Settings) { s.CA = other }, "check ca"},
		"name that it has not":     {func(s *Settings) { s.TokenURL = strings.Replace(s.TokenURL, "127.0.0.1", "localhost", 1) }, "check token_url: the certificate"},
		"nobody listens":           {func(s *Settings) { s.TokenURL = "https://" + closed.Addr().String() + "/token" }, "write proxy_url"},
		"nobody listens, as proxy": {func(s *Settings) { s.ProxyURL = "http://" + closed.Addr().String() }, "check proxy_url"},
	} {
		at := settings
		c.change(&at)
		if err := fails(t, open(t, at)); err.Kind != Unreachable || !strings.Contains(err.Advice, c.key) {
			t.Errorf("%s: the advice is %q, want %q; the error is %v", name, err.Advice, c.key, err)
		}
	}
}

// otherAuthority is the certificate of an authority that has signed nothing here.
func otherAuthority(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "another authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
