package token

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"smtpshim/rewrite/oneof"
	"smtpshim/rewrite/vocabulary"
)

// A Flow is a way of obtaining an access token.
type Flow string

const (
	ClientCredentials Flow = "client-credentials" // RFC 6749, 4.4: with a secret or certificate of the application
	RefreshToken      Flow = "refresh-token"      // RFC 6749, 6: with the refresh token stored by [Login]
	ServiceAccount    Flow = "service-account"    // RFC 7523, 2.1: with a Google JSON key file
	Command           Flow = "command"            // a program prints the token
)

var flows = []Flow{ClientCredentials, RefreshToken, ServiceAccount, Command}

// Settings say how to obtain the tokens of one account. The files of secrets, keys and
// certificates are read again for each request, so that a replaced one is used without
// a restart. CA is read only once.
type Settings struct {
	Account string // the account's name, in errors and in file names in StateDir

	// Provider is "microsoft", "google" or "", which stands for any other. With the
	// first two, TokenURL, DeviceURL and Scopes have the provider's values if they are
	// empty.
	Provider string
	Flow     Flow
	Tenant   string // for Microsoft: the directory's ID or domain

	// TokenURL is the token endpoint. It must be https, or http to a loopback address.
	// "" stands for the endpoint of Provider. Without a Provider, "" stands for
	// Google's with the flow ServiceAccount, and is an error with ClientCredentials and
	// RefreshToken. The flow Command uses no endpoint.
	TokenURL  string
	DeviceURL string // the endpoint for device codes (RFC 8628), for Login
	Scopes    []string

	ClientID string
	// ClientSecretFile has the application's secret. ClientCertificate is a PEM file
	// and is used in place of a secret (private_key_jwt). ClientCredentials needs one
	// of the two; with RefreshToken both may be empty. ClientKey is a PEM file with the
	// certificate's RSA or P-256 key; "": the key is in ClientCertificate.
	ClientSecretFile  string
	ClientCertificate string
	ClientKey         string

	KeyFile string // flow ServiceAccount: the JSON key file
	Subject string // flow ServiceAccount: the user to act for (domain-wide delegation); "": the service account itself

	Command        []string      // flow Command: the program and its arguments, run without a shell
	CommandTimeout time.Duration // limit of one run; 0: DefaultTimeout

	// StateDir is the directory in which RefreshToken keeps its token, in the file
	// Account + ".token".
	StateDir string

	ProxyURL string        // an HTTP or SOCKS5 proxy for requests; "": none, whatever the environment says
	CA       string        // PEM file of the authorities for TokenURL and DeviceURL; "": the system's
	Timeout  time.Duration // limit of one request, from dial to end of reply; 0: DefaultTimeout
	// HTTP makes the requests if it is not nil. ProxyURL and CA are then ignored.
	HTTP http.RoundTripper

	Log      *slog.Logger // nil: no log
	Observer Observer     // nil: none
}

// An Observer is told the results of a [Source]. Its methods may be called from any
// goroutine and must return at once.
type Observer interface {
	// TokenRequest is called after each attempt to obtain a token, unless the Source
	// was closed meanwhile. outcome is TokenOK or the name of the error's [Kind].
	TokenRequest(account string, outcome vocabulary.TokenOutcome)
	// TokenExpires is called for each new token. at is when it expires.
	TokenExpires(account string, at time.Time)
}

// DefaultTimeout is the limit of a request or of a run of a program, if
// Settings.Timeout or Settings.CommandTimeout is 0.
const DefaultTimeout = 30 * time.Second

const (
	microsoftAuthority = "https://login.microsoftonline.com/"
	googleTokenURL     = "https://oauth2.googleapis.com/token"
	googleDeviceURL    = "https://oauth2.googleapis.com/device/code"
	googleScope        = "https://mail.google.com/"
)

var (
	accountName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$`)
	tenantName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$`)
)

// filled returns the settings with the provider's endpoints and defaults in place of
// empty fields. The error has all mistakes, joined.
func (s Settings) filled() (Settings, error) {
	if s.Timeout == 0 {
		s.Timeout = DefaultTimeout
	}
	if s.CommandTimeout == 0 {
		s.CommandTimeout = DefaultTimeout
	}
	s.Scopes = slices.Clone(s.Scopes)
	var wrong []error
	if !accountName.MatchString(s.Account) {
		wrong = append(wrong, fmt.Errorf("account name %q names a file; use 1 to 64 letters, digits, \"-\", \"_\" and \".\", not \".\" first", s.Account))
	}
	if s.Timeout < 0 || s.CommandTimeout < 0 {
		wrong = append(wrong, errors.New("a timeout is negative; 0 is the default of 30s"))
	}
	if _, err := oneof.Index(string(s.Flow), flows); err != nil {
		wrong = append(wrong, fmt.Errorf("flow %w", err))
		return s, errors.Join(wrong...)
	}
	if s.Flow == Command {
		if len(s.Command) == 0 || s.Command[0] == "" {
			wrong = append(wrong, errors.New("flow \"command\" needs command, for example [\"/usr/local/bin/print-token\"]"))
		}
		return s, errors.Join(wrong...)
	}
	wrong = append(wrong, s.fillProvider())
	wrong = append(wrong, s.wrongCredentials(), wrongURL("token_url", s.TokenURL))
	if s.DeviceURL != "" {
		wrong = append(wrong, wrongURL("device_url", s.DeviceURL))
	}
	return s, errors.Join(wrong...)
}

// patience returns the time limit of one attempt to obtain a token.
func (s Settings) patience() time.Duration {
	if s.Flow == Command {
		return s.CommandTimeout
	}
	return s.Timeout
}

// fillProvider sets empty fields to the values of the provider.
func (s *Settings) fillProvider() error {
	var token, device, scope string
	switch s.Provider {
	case "":
		if s.TokenURL == "" && s.Flow != ServiceAccount {
			return errors.New("token_url is missing; give it, or provider = \"microsoft\" or \"google\"")
		}
	case "microsoft":
		if s.Flow == ServiceAccount {
			return errors.New("flow \"service-account\" is Google's; use \"client-credentials\" with provider \"microsoft\"")
		}
		if s.TokenURL == "" {
			if err := s.wrongTenant(); err != nil {
				return err
			}
		}
		authority := microsoftAuthority + s.Tenant + "/oauth2/v2.0/"
		token, device = authority+"token", authority+"devicecode"
		scope = "https://outlook.office365.com/.default"
		if s.Flow == RefreshToken {
			scope = "https://outlook.office.com/SMTP.Send offline_access"
		}
	case "google":
		if s.Flow == ClientCredentials {
			return errors.New("provider \"google\" has no flow \"client-credentials\"; use \"service-account\" or \"refresh-token\"")
		}
		token, device, scope = googleTokenURL, googleDeviceURL, googleScope
	default:
		_, err := oneof.Index(s.Provider, []string{"microsoft", "google", ""})
		return fmt.Errorf("provider %w", err)
	}
	if s.TokenURL == "" {
		s.TokenURL = token
	}
	if s.TokenURL == "" && s.Flow == ServiceAccount {
		s.TokenURL = googleTokenURL
	}
	if s.DeviceURL == "" {
		s.DeviceURL = device
	}
	if len(s.Scopes) == 0 && scope != "" {
		s.Scopes = strings.Fields(scope)
	}
	return nil
}

// wrongTenant checks Microsoft's tenant. With client credentials the application belongs
// to one directory, so the names for all directories are refused.
func (s *Settings) wrongTenant() error {
	if s.Tenant == "" {
		return errors.New("tenant is missing: the directory's ID or domain, such as \"contoso.onmicrosoft.com\"")
	}
	if !tenantName.MatchString(s.Tenant) {
		return fmt.Errorf("tenant %q is not the directory's ID or domain, such as \"contoso.onmicrosoft.com\"", s.Tenant)
	}
	if s.Flow == ClientCredentials && slices.Contains([]string{"common", "organizations", "consumers"}, s.Tenant) {
		return fmt.Errorf("tenant %q stands for any directory; flow \"client-credentials\" needs the ID or domain of yours", s.Tenant)
	}
	return nil
}

// wrongCredentials checks which credentials are given. It does not read them.
func (s *Settings) wrongCredentials() error {
	var wrong []error
	if s.ClientID == "" && s.Flow != ServiceAccount {
		wrong = append(wrong, fmt.Errorf("flow %q needs client_id", s.Flow))
	}
	if s.ClientKey != "" && s.ClientCertificate == "" {
		wrong = append(wrong, errors.New("client_key needs client_certificate"))
	}
	if s.ClientSecretFile != "" && s.ClientCertificate != "" {
		wrong = append(wrong, errors.New("client_secret_file and client_certificate exclude each other"))
	}
	switch {
	case s.Flow == ClientCredentials && s.ClientSecretFile == "" && s.ClientCertificate == "":
		wrong = append(wrong, errors.New("flow \"client-credentials\" needs client_secret_file or client_certificate"))
	case s.Flow == RefreshToken && s.StateDir == "":
		wrong = append(wrong, errors.New("flow \"refresh-token\" needs state_dir, the directory that keeps the token"))
	case s.Flow == ServiceAccount && s.KeyFile == "":
		wrong = append(wrong, errors.New("flow \"service-account\" needs key_file, the JSON file of the key"))
	}
	return errors.Join(wrong...)
}

// wrongURL requires https, because the request contains a secret. http is allowed for a
// server on this machine, as in tests.
func wrongURL(key, text string) error {
	if text == "" {
		return nil // fillProvider reports that
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%s is not a URL such as \"https://login.example.com/token\"", key)
	}
	if u.Scheme == "https" {
		return nil
	}
	address, err := netip.ParseAddr(u.Hostname())
	if u.Scheme == "http" && err == nil && address.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s begins with %q; use https, since the request holds a secret", key, u.Scheme+"://")
}
