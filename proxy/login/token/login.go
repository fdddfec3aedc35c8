package token

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// A Prompt tells the person who logs in for an account what to do: open URL in a
// browser on any device, and enter Code there.
type Prompt struct {
	URL      string
	Code     string    // short enough to type; it may be displayed
	Complete string    // URL that includes Code, to open instead; "": there is none
	Until    time.Time // when the code expires
}

// unknownCode is the assumed lifetime of a device code if the endpoint does not give one,
// as RFC 8628 (3.2) requires.
const unknownCode = 15 * time.Minute

// Login obtains a refresh token for settings with a device code (RFC 8628) and stores
// it in StateDir. A running [Source] that lacks a token finds it there within seconds.
// Login calls prompt once it has a code, with what to show to the person who logs in.
// It then waits until that person has logged in or refused, the code has expired, or
// ctx is done. It returns nil if the token is stored. An error is of type [*Error],
// unless settings are wrong or prompt has returned it. Login ignores settings.Flow.
func Login(ctx context.Context, settings Settings, prompt func(Prompt) error) error {
	settings.Flow = RefreshToken
	s, err := New(settings)
	if err != nil {
		return err
	}
	defer s.Close()
	if s.settings.DeviceURL == "" {
		return fmt.Errorf("account %q: device_url is missing; give it, or provider = \"microsoft\" or \"google\"", s.settings.Account)
	}
	if err := s.writable(ctx); err != nil {
		return s.settings.fault(Local, fmt.Errorf("store a refresh token: %w", err))
	}
	got, failure := s.deviceCode(ctx, prompt)
	if failure != nil {
		return failure
	}
	if got.refresh.value == nil {
		e := s.settings.fault(Rejected, errors.New("it gives no refresh token"))
		e.Advice = "check that scopes has what asks for one, such as \"offline_access\""
		return e
	}
	unlock, err := s.settings.lock(ctx)
	if err != nil {
		return s.settings.fault(Local, err)
	}
	defer unlock()
	if err := s.settings.writeState(got.refresh); err != nil {
		return s.settings.fault(Local, fmt.Errorf("store the refresh token: %w", err))
	}
	return nil
}

// writable checks that a refresh token can be stored, before anybody logs in for it.
func (s *Source) writable(ctx context.Context) error {
	unlock, err := s.settings.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	f, err := os.CreateTemp(s.settings.StateDir, s.settings.Account+".*.try")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// deviceCode requests a device code, shows it, and waits for the token.
func (s *Source) deviceCode(ctx context.Context, prompt func(Prompt) error) (grant, error) {
	client, failure := s.clientSecret()
	if failure != nil {
		return grant{}, failure
	}
	c := &oauth2.Config{
		ClientID: s.settings.ClientID, ClientSecret: client.reveal(), Scopes: s.settings.Scopes,
		Endpoint: oauth2.Endpoint{TokenURL: s.settings.TokenURL, DeviceAuthURL: s.settings.DeviceURL, AuthStyle: oauth2.AuthStyleInParams},
	}
	hide := []string{client.reveal()}
	device, failure := s.askDevice(ctx, c, hide)
	if failure != nil {
		return grant{}, failure
	}
	if device.Expiry.IsZero() {
		device.Expiry = time.Now().Add(unknownCode)
	}
	hide = append(hide, device.DeviceCode, device.UserCode)
	shown, err := shownTo(device)
	if err != nil {
		return grant{}, s.settings.fault(Rejected, err)
	}
	if err := prompt(shown); err != nil {
		return grant{}, err
	}
	return s.poll(ctx, client, c, device, hide)
}

// askDevice requests a device code. An application with a secret must authenticate here
// too (RFC 8628, 3.1). But Google and Microsoft do not require it, and x/oauth2 does not
// support it. So the secret is sent only if the endpoint refuses a request without it:
// first with HTTP Basic, which RFC 6749, 2.3.1 requires every endpoint to support, and
// then in the parameters.
func (s *Source) askDevice(ctx context.Context, c *oauth2.Config, hide []string) (*oauth2.DeviceAuthResponse, *Error) {
	proof := s.clientProof()
	asking, trip := s.recorded(ctx)
	device, err := c.DeviceAuth(asking, proof...)
	if err == nil {
		return device, nil
	}
	failure := s.explained(err, hide)
	if failure.Kind != InvalidClient || c.ClientSecret == "" {
		return nil, failure
	}
	trip.next = basic{trip.next, c}
	if device, err = c.DeviceAuth(asking, proof...); err == nil {
		return device, nil
	}
	asking, _ = s.recorded(ctx)
	if device, err = c.DeviceAuth(asking, append(proof, oauth2.SetAuthURLParam("client_secret", c.ClientSecret))...); err == nil {
		return device, nil
	}
	return nil, s.explained(err, hide)
}

// A basic authenticates an application with its secret in the header.
type basic struct {
	next http.RoundTripper
	c    *oauth2.Config
}

func (b basic) RoundTrip(q *http.Request) (*http.Response, error) {
	q = q.Clone(q.Context())
	q.SetBasicAuth(url.QueryEscape(b.c.ClientID), url.QueryEscape(b.c.ClientSecret))
	return b.next.RoundTrip(q)
}

// shownTo checks what the endpoint wants shown, because it goes to a terminal.
func shownTo(device *oauth2.DeviceAuthResponse) (Prompt, error) {
	p := Prompt{URL: device.VerificationURI, Code: device.UserCode, Complete: device.VerificationURIComplete, Until: device.Expiry}
	for _, text := range []string{p.URL, p.Complete, p.Code} {
		if len(text) > 2048 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			return Prompt{}, errors.New("what it wants shown is not of printable ASCII characters")
		}
	}
	for _, text := range []string{p.URL, p.Complete} {
		u, err := url.Parse(text)
		if text != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "") {
			return Prompt{}, errors.New("its verification_uri is not a URL")
		}
	}
	if p.URL == "" || p.Code == "" || device.DeviceCode == "" {
		return Prompt{}, errors.New("its reply has no verification_uri, user_code or device_code (RFC 8628, 3.2)")
	}
	return p, nil
}

// poll waits for the token of a device code. It continues after temporary failures, as
// RFC 8628 (3.5) recommends.
func (s *Source) poll(ctx context.Context, client secret, c *oauth2.Config, device *oauth2.DeviceAuthResponse, hide []string) (grant, error) {
	for {
		got, failure := s.styled(ctx, client, func(ctx context.Context, style oauth2.AuthStyle) (*oauth2.Token, error) {
			c.Endpoint.AuthStyle = style
			// The assertion in clientProof must be younger than assertionLife.
			ctx, cancel := context.WithTimeout(ctx, assertionLife-s.settings.Timeout)
			defer cancel()
			return c.DeviceAccessToken(ctx, device, s.clientProof()...)
		}, hide...)
		switch {
		case failure == nil:
			return got, nil
		case ctx.Err() != nil:
			return grant{}, s.settings.fault(Unreachable, fmt.Errorf("wait for the login: %w", ctx.Err()))
		case failure.Kind == Unreachable && !time.Now().Before(device.Expiry):
			failure = s.settings.fault(InvalidGrant, errors.New("nobody has logged in before the code's end"))
		case failure.Kind == Unreachable || failure.Kind == Unavailable:
			continue // DeviceAccessToken waits before it asks
		}
		switch failure.Code {
		case "access_denied", "authorization_declined":
			failure.Advice = "somebody has refused the login"
		case "expired_token":
			failure.Advice = "nobody has logged in before the code's end; try again"
		}
		return grant{}, failure
	}
}

// clientProof returns the parameters with the application's signed assertion, if it
// authenticates with a certificate.
func (s *Source) clientProof() []oauth2.AuthCodeOption {
	if s.settings.ClientCertificate == "" {
		return nil
	}
	parameters, err := s.clientAssertion(time.Now().Add(s.grants.skew))
	if err != nil {
		return nil // New has read the files; the endpoint's refusal will say more
	}
	var list []oauth2.AuthCodeOption
	for key := range parameters {
		list = append(list, oauth2.SetAuthURLParam(key, parameters.Get(key)))
	}
	return list
}
