package token

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// A grant is the result of a request.
type grant struct {
	access  string
	life    time.Duration // lifetime from the request on
	known   bool          // the endpoint has given the lifetime
	refresh secret        // the next refresh token, for RefreshToken
}

// grants is what a source learns from its requests.
type grants struct {
	style   oauth2.AuthStyle // how the endpoint accepts the client's secret; 0: not known yet
	skew    time.Duration    // how far the endpoint's clock is ahead
	unsaved rotation         // a refresh token that could not be stored
}

// obtain requests a token by the account's flow.
func (s *Source) obtain(ctx context.Context) (grant, *Error) {
	switch s.settings.Flow {
	case RefreshToken:
		return s.refreshed(ctx)
	case ServiceAccount:
		return s.asserted(ctx, s.serviceAccount)
	case Command:
		return s.commanded(ctx)
	}
	if s.settings.ClientCertificate != "" {
		return s.asserted(ctx, s.signedClient)
	}
	c, err := s.clientSecret()
	if err != nil {
		return grant{}, err
	}
	return s.styled(ctx, c, func(ctx context.Context, style oauth2.AuthStyle) (*oauth2.Token, error) {
		return s.clientCredentials(c, url.Values{}, style).Token(ctx)
	})
}

// clientSecret reads the secret of the application.
func (s *Source) clientSecret() (secret, *Error) {
	if s.settings.ClientSecretFile == "" {
		return secret{}, nil
	}
	text, err := readSecret(s.settings.ClientSecretFile)
	if err != nil {
		return secret{}, s.settings.fault(Local, fmt.Errorf("read client_secret_file: %w", err))
	}
	return newSecret(text), nil
}

// readSecret returns the content of a file without surrounding white space, which editors
// may add.
func readSecret(name string) (string, error) {
	b, err := readSmall(name)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", fmt.Errorf("%q is empty", name)
	}
	return text, nil
}

// maxFile is the size, in octets, of the largest file of credentials.
const maxFile = 64 << 10

// readSmall reads a regular file. It refuses a pipe or device, which might block.
func readSmall(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file", name)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%q has %d octets, more than %d", name, info.Size(), maxFile)
	}
	return os.ReadFile(name)
}

func (s *Source) clientCredentials(client secret, parameters url.Values, style oauth2.AuthStyle) *clientcredentials.Config {
	return &clientcredentials.Config{
		ClientID:       s.settings.ClientID,
		ClientSecret:   client.reveal(),
		TokenURL:       s.settings.TokenURL,
		Scopes:         s.settings.Scopes,
		EndpointParams: parameters,
		AuthStyle:      style,
	}
}

// styled makes a request with the client's secret in the body, as all known providers
// accept it. RFC 6749 (2.3.1) requires an endpoint to support only HTTP Basic. So if the
// endpoint refuses the first form as invalid_client, which has no effect, styled tries
// the other one once.
func (s *Source) styled(ctx context.Context, client secret, ask func(context.Context, oauth2.AuthStyle) (*oauth2.Token, error), secrets ...string) (grant, *Error) {
	style := s.grants.style
	if style == 0 {
		style = oauth2.AuthStyleInParams
	}
	secrets = append(secrets, client.reveal())
	got, err := s.ask(ctx, style, ask, secrets)
	if err == nil || err.Kind != InvalidClient || s.grants.style != 0 || s.settings.Provider != "" || client.value == nil {
		if err == nil {
			s.grants.style = style
		}
		return got, err
	}
	got, again := s.ask(ctx, oauth2.AuthStyleInHeader, ask, secrets)
	if again != nil {
		return grant{}, err // the first error says why
	}
	s.grants.style = oauth2.AuthStyleInHeader
	return got, nil
}

// ask makes one request and checks the result.
func (s *Source) ask(ctx context.Context, style oauth2.AuthStyle, ask func(context.Context, oauth2.AuthStyle) (*oauth2.Token, error), secrets []string) (grant, *Error) {
	ctx, trip := s.recorded(ctx)
	started := time.Now()
	t, err := ask(ctx, style)
	if trip.seen {
		s.grants.skew = trip.skew
	}
	if err != nil {
		return grant{}, s.explained(err, secrets)
	}
	if err := usable(t.AccessToken, t.TokenType); err != nil {
		return grant{}, s.settings.fault(Rejected, err)
	}
	got := grant{access: t.AccessToken}
	if t.RefreshToken != "" {
		got.refresh = newSecret(t.RefreshToken)
	}
	if !t.Expiry.IsZero() {
		// The library counts from the reply, but the lifetime begins earlier.
		got.life, got.known = time.Until(t.Expiry)-time.Since(started), true
	}
	return got, nil
}

// maxToken is the length, in octets, of the longest token that is accepted. A SASL line
// in SMTP has at most 12,288 octets (RFC 4954, 4).
const maxToken = 16 << 10

// usable checks a token. It must consist of visible ASCII, or it would change the SASL
// message that contains it (RFC 6750, 2.1; RFC 7628, 3.1).
func usable(access, kind string) error {
	if kind != "" && !strings.EqualFold(kind, "Bearer") {
		return errors.New("its token_type is not Bearer")
	}
	if len(access) > maxToken {
		return fmt.Errorf("its token has %d octets, more than %d", len(access), maxToken)
	}
	if access == "" || strings.ContainsFunc(access, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("its token is not of visible ASCII characters")
	}
	return nil
}

// lookAtFiles returns a text that changes whenever a file of the credentials does.
func (s *Source) lookAtFiles() string {
	var b strings.Builder
	for _, name := range s.settings.files() {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			fmt.Fprintln(&b, "none")
			continue
		}
		fmt.Fprintln(&b, info.Size(), info.ModTime().UnixNano(), info.Mode())
	}
	return b.String()
}

// files returns the files that contain credentials.
func (s Settings) files() []string {
	list := []string{s.ClientSecretFile, s.ClientCertificate, s.ClientKey, s.KeyFile}
	if s.Flow == RefreshToken {
		list = append(list, s.stateFile())
	}
	return list
}
