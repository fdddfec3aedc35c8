package token

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"golang.org/x/oauth2"
)

const (
	maxReply  = 256 << 10 // octets read of a reply's body; a token has about 2 KiB
	maxHeader = 64 << 10  // octets of a reply's header
)

// client returns the HTTP client for the requests of an account. It has its own
// connections, follows no redirects, and ignores proxy settings in the environment.
func (s Settings) client() (*http.Client, error) {
	trip := s.HTTP
	if trip == nil {
		own := &http.Transport{
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    s.Timeout,
			IdleConnTimeout:        30 * time.Second,
			MaxIdleConns:           1,
			MaxResponseHeaderBytes: maxHeader,
			ForceAttemptHTTP2:      true,
		}
		if s.CA != "" {
			pem, err := os.ReadFile(s.CA)
			if err != nil {
				return nil, fmt.Errorf("read ca: %w", err)
			}
			own.TLSClientConfig.RootCAs = x509.NewCertPool()
			if !own.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("ca %q holds no PEM certificate", s.CA)
			}
		}
		if s.ProxyURL != "" {
			proxy, err := url.Parse(s.ProxyURL)
			if err != nil || proxy.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, proxy.Scheme) {
				// The error does not quote the URL, which may contain a password.
				return nil, errors.New("proxy_url is not a URL such as \"http://192.0.2.1:3128\"")
			}
			own.Proxy = http.ProxyURL(proxy)
		}
		trip = own
	}
	return &http.Client{
		Transport:     trip,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// A recorder is a transport that limits the time of a request and the size of its reply,
// and records the endpoint's clock. The library that makes the requests makes some
// without a context, and leaves some bodies open.
type recorder struct {
	next    http.RoundTripper
	ctx     context.Context // cancels every request
	timeout time.Duration   // of each request
	skew    time.Duration   // how far the endpoint's clock is ahead of ours
	seen    bool            // a reply had a Date
}

// recorded returns a context whose requests use a recorder.
func (s *Source) recorded(ctx context.Context) (context.Context, *recorder) {
	r := &recorder{next: s.client.Transport, ctx: ctx, timeout: s.settings.Timeout}
	client := *s.client
	client.Transport = r
	return context.WithValue(ctx, oauth2.HTTPClient, &client), r
}

func (r *recorder) RoundTrip(q *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(q.Context(), r.timeout)
	defer cancel()
	stop := context.AfterFunc(r.ctx, cancel)
	defer stop()
	reply, err := r.next.RoundTrip(q.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(reply.Body, maxReply))
	if err := errors.Join(err, reply.Body.Close()); err != nil {
		return nil, err
	}
	reply.Body = io.NopCloser(bytes.NewReader(body))
	if date, err := http.ParseTime(reply.Header.Get("Date")); err == nil {
		r.skew, r.seen = time.Until(date), true
	}
	return reply, nil
}
