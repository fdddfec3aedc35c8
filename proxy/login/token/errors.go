package token

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/oauth2"
)

// A Kind says what failed when no token could be obtained.
type Kind uint8

const (
	Unreachable   Kind = iota // no reply of the endpoint in time: dial, TLS, timeout
	Unavailable               // the endpoint has a temporary error, such as 5xx or 429
	InvalidClient             // the endpoint does not accept the application's ID, secret or certificate
	InvalidGrant              // the refresh token, assertion or login is missing or not accepted
	Rejected                  // the endpoint refused for another reason, or sent no token
	Local                     // a file or a program on this machine failed
	Closed                    // the Source is closed
)

var kinds = []string{"unreachable", "unavailable", "invalid-client", "invalid-grant", "rejected", "local", "closed"}

// String returns the name of the kind in metrics: "unreachable", "unavailable",
// "invalid-client", "invalid-grant", "rejected", "local" or "closed".
func (k Kind) String() string { return kinds[k] }

var meanings = []string{"token endpoint does not reply", "token endpoint is unavailable", "client is not accepted",
	"grant is not accepted", "token endpoint gives none", "local failure", "source is closed"}

// Means returns a phrase that describes the kind for people, such as "token endpoint
// does not reply".
func (k Kind) Means() string { return meanings[k] }

// An Error says why there is no token for an account. It contains no secret: of the
// endpoint's text it repeats only a registered code, an AADSTS number, and a description
// without words that may be secret.
type Error struct {
	Account     string
	Kind        Kind
	Status      int           // HTTP status of the endpoint's error reply; 0: there was none
	Code        string        // "error" of that reply, if it is a registered code
	AADSTS      string        // Microsoft's error number, digits only; "": none
	Description string        // the endpoint's description, shortened and without secrets
	RetryAfter  time.Duration // the wait that the endpoint asks for, if Unavailable; 0: none
	Advice      string        // what to do about it; "": not known
	Err         error         // the underlying error; may be nil
}

// Temporary reports whether a later attempt may succeed without any change at the
// provider, so that the reply to a client should be 4xx. This includes a reply of the
// endpoint with neither a token nor an error, such as the page of a captive portal.
func (e *Error) Temporary() bool {
	switch e.Kind {
	case InvalidClient, InvalidGrant:
		return false
	case Rejected:
		return e.Code == "" && e.AADSTS == ""
	}
	return true
}

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "get token for account %q: ", e.Account)
	b.WriteString(e.Kind.Means())
	var details []string
	if e.Status != 0 {
		details = append(details, fmt.Sprintf("HTTP %d", e.Status))
	}
	if e.Code != "" {
		details = append(details, e.Code)
	}
	if e.AADSTS != "" {
		details = append(details, "AADSTS"+e.AADSTS)
	}
	if len(details) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(details, ", "))
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Description != "" {
		fmt.Fprintf(&b, ": %q", e.Description)
	}
	if e.Advice != "" {
		fmt.Fprintf(&b, "; %s", e.Advice)
	}
	return b.String()
}

// codes are the values of "error" that an Error repeats: those of RFC 6749 (5.2, 4.1.2.1)
// and RFC 8628 (3.5), interaction_required of OpenID Connect Core, and
// authorization_declined, which Microsoft sends for access_denied (learn.microsoft.com,
// v2-oauth2-device-code). Any other text may be a secret that the endpoint repeats.
var codes = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client",
	"unsupported_grant_type", "invalid_scope", "access_denied", "server_error",
	"temporarily_unavailable", "authorization_pending", "slow_down", "expired_token", "authorization_declined",
	"interaction_required", "consent_required", "login_required",
}

// replied returns an Error for a reply of the endpoint without a token. It repeats none
// of secrets.
func (s *Source) replied(reply *oauth2.RetrieveError, secrets []string) *Error {
	e := s.settings.fault(Rejected, nil)
	e.Status = reply.Response.StatusCode
	if slices.Contains(codes, reply.ErrorCode) {
		e.Code = reply.ErrorCode
	}
	if m := aadsts.FindStringSubmatch(reply.ErrorDescription); m != nil {
		e.AADSTS = m[1]
	}
	e.Description = clean(reply.ErrorDescription, secrets)
	switch {
	case e.Status >= 500, e.Status == 429, e.Status == 408, e.Code == "temporarily_unavailable", e.Code == "server_error":
		e.Kind = Unavailable
		e.RetryAfter = retryAfter(reply.Response.Header)
	case e.Code == "invalid_client", e.Code == "unauthorized_client", e.Code == "" && e.Status == 401:
		e.Kind = InvalidClient
	case e.Code == "invalid_grant", e.Code == "interaction_required", e.Code == "consent_required",
		e.Code == "login_required", e.Code == "expired_token", e.Code == "access_denied", e.Code == "authorization_declined":
		e.Kind = InvalidGrant
	case e.Status >= 300 && e.Status < 400:
		e.Err = errors.New("it redirects elsewhere, which is not followed since the request holds a secret")
	}
	e.Advice = advice(e, s.settings)
	return e
}

// fault returns an Error for the account.
func (s Settings) fault(kind Kind, err error) *Error {
	return &Error{Account: s.Account, Kind: kind, Err: err}
}

// explained returns an Error for any error of a request.
func (s *Source) explained(err error, secrets []string) *Error {
	var typed *Error
	if errors.As(err, &typed) {
		return typed
	}
	var reply *oauth2.RetrieveError
	if errors.As(err, &reply) {
		return s.replied(reply, secrets)
	}
	var transport *url.Error
	if errors.As(err, &transport) {
		return s.unreachable(transport.Err)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.ErrUnexpectedEOF) || isTimeout(err) {
		return s.unreachable(err)
	}
	// The text of any other error may quote the reply.
	e := s.settings.fault(Rejected, errors.New("the reply is not that of a token endpoint (RFC 6749, 5.1)"))
	e.Advice = "check token_url"
	return e
}

// unreachable returns an Error for an endpoint that has not replied.
func (s *Source) unreachable(cause error) *Error {
	e := s.settings.fault(Unreachable, plain(cause, s.settings.Timeout))
	e.Advice = unreachableAdvice(cause, s.settings)
	return e
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// plain returns an error whose text cannot quote what a peer has sent.
func plain(err error, timeout time.Duration) error {
	var (
		operation *net.OpError
		name      *net.DNSError
		number    syscall.Errno
		record    tls.RecordHeaderError
		alert     tls.AlertError
		verify    *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return fmt.Errorf("no reply within %v: %w", timeout, context.DeadlineExceeded)
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &verify):
		return verify
	case errors.As(err, &operation), errors.As(err, &name), errors.As(err, &number), errors.As(err, &alert):
		return err
	case errors.As(err, &record):
		return errors.New("it does not speak TLS")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection ended before the reply")
	}
	return errors.New("the connection failed, or its reply is not HTTP")
}

// unprinted matches characters that do not belong in one line of a log. spelled matches
// words that are long enough to be a token, a code or a key.
var (
	aadsts    = regexp.MustCompile(`\bAADSTS([0-9]{4,10})\b`)
	unprinted = regexp.MustCompile(`[^ -~]+`)
	spelled   = regexp.MustCompile(`[A-Za-z0-9_\-.~+/=%!$*]{24,}`)
	trace     = regexp.MustCompile(`\s*Trace ID:.*`)
)

// clean returns a description for a log: one line of at most 200 characters, without
// secrets and without words that may be secret.
func clean(description string, secrets []string) string {
	text := unprinted.ReplaceAllString(description, " ")
	for _, hide := range secrets {
		if hide == "" {
			continue
		}
		for _, form := range []string{hide, url.QueryEscape(hide), url.PathEscape(hide), quoted(hide)} {
			if strings.Contains(text, form) || strings.Contains(description, form) {
				return ""
			}
		}
	}
	text = spelled.ReplaceAllString(trace.ReplaceAllString(text, ""), "[...]")
	if len(text) > 200 {
		text = text[:200] + "..."
	}
	return strings.TrimSpace(text)
}

// quoted returns the text as JSON writes it, without the quotes.
func quoted(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		return text
	}
	return string(b[1 : len(b)-1])
}
