package token

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// byNumber maps Microsoft's error numbers to advice
// (learn.microsoft.com/entra/identity-platform/reference-error-codes). %s stands for the
// account's name.
var byNumber = map[string]string{
	"7000215": "the client secret is wrong: store the secret's value, not its ID",
	"7000222": "the client secret has expired: make a new one and store its value",
	"700027":  "the application does not know this certificate: upload it to the application's registration",
	"700024":  "the signed assertion is not valid now: check the clock of this machine",
	"700016":  "the application does not exist in this tenant: check client_id and tenant",
	"7000112": "the application is disabled: enable it in the tenant",
	"7000218": "the application needs a secret, or \"Allow public client flows\" in its registration",
	"90002":   "the tenant does not exist: check tenant",
	"70011":   "the scope is not valid: check scopes",
	"65001":   "nobody has consented: have an administrator grant the permission SMTP.SendAsApp or SMTP.Send",
	"70008":   "the refresh token has expired: run \"smtpshim login %s\"",
	"700082":  "the refresh token has expired, unused for 90 days: run \"smtpshim login %s\"",
	"50173":   "the refresh token was revoked, as by a new password: run \"smtpshim login %s\"",
	"50076":   "a policy asks for a second factor: run \"smtpshim login %s\"",
	"50079":   "a policy asks for a second factor: run \"smtpshim login %s\"",
	"53003":   "a Conditional Access policy forbids it: exclude the account or this machine from it",
	"50034":   "the user does not exist in this tenant: check tenant and user",
	"50057":   "the user's account is disabled: enable it",
}

// Explain returns the meaning of text, an error text of a token endpoint, and what to
// do about it. It looks in text for Microsoft's error numbers, such as AADSTS7000222,
// and for the codes invalid_client and invalid_grant (RFC 6749, 5.2). Both results are
// "" if it finds none that it knows. In do, the word NAME stands for the account's
// name.
func Explain(text string) (means, do string) {
	for _, m := range aadsts.FindAllStringSubmatch(text, -1) {
		if known := byNumber[m[1]]; known != "" {
			means, do, _ = strings.Cut(named(known, "NAME"), ": ")
			return means, do
		}
	}
	switch {
	case strings.Contains(text, "invalid_client"):
		return "the token endpoint does not know the application, or its secret", "check client_id and the client secret, which may have expired"
	case strings.Contains(text, "invalid_grant"):
		return "the token endpoint refuses the credentials, or the refresh token is of no use any more",
			"run \"smtpshim login NAME\" where flow is refresh-token; otherwise check the credentials and the clock of this machine"
	}
	return "", ""
}

// advice returns what to do about a reply of the endpoint; "" if that is not known.
func advice(e *Error, s Settings) string {
	text := byNumber[e.AADSTS]
	if text == "" {
		switch {
		case e.Kind == InvalidClient && s.Flow == ServiceAccount:
			text = "check the service account, its key and its domain-wide delegation"
		case e.Kind == InvalidClient && s.ClientCertificate != "":
			text = "check client_id and whether the provider knows client_certificate"
		case e.Kind == InvalidClient:
			text = "check client_id and the client secret, which may have expired"
		case e.Kind == InvalidGrant && s.Flow == RefreshToken:
			text = "the refresh token is of no use any more: run \"smtpshim login %s\""
		case e.Kind == InvalidGrant:
			text = "check the credentials and the clock of this machine"
		case e.Code == "invalid_scope":
			text = "check scopes"
		case e.Kind == Rejected:
			text = "check token_url"
		}
	}
	return named(text, s.Account)
}

// unreachableAdvice returns what to do about an endpoint that has not replied.
func unreachableAdvice(cause error, s Settings) string {
	var (
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		name    x509.HostnameError
	)
	switch {
	case errors.As(cause, &invalid) && invalid.Reason == x509.Expired:
		return "check the clock of this machine"
	case errors.As(cause, &name):
		return "check token_url: the certificate there is for another name"
	case errors.As(cause, &unknown) && s.CA != "":
		return "check ca: it does not hold the authority that signed the certificate"
	case errors.As(cause, &unknown):
		return "write ca: a file with the authority that signed the certificate, such as that of a firewall that inspects TLS"
	case errors.Is(cause, context.Canceled):
		return ""
	case s.ProxyURL != "":
		return "check proxy_url, and whether that proxy lets token_url pass"
	}
	return "check token_url and whether this machine may reach it; if it reaches the Internet through a proxy only, write proxy_url"
}

// named inserts the account's name into text.
func named(text, account string) string {
	for i := range len(text) {
		if text[i] == '%' {
			return fmt.Sprintf(text, account)
		}
	}
	return text
}

// retryAfter parses the header Retry-After in either form (RFC 9110, 10.2.3). It
// interprets a date relative to the reply's own Date, because the local clock may be
// wrong. It returns 0 if there is no such header.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(n, 0), 86400)) * time.Second
	}
	until, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return max(0, until.Sub(now))
}
