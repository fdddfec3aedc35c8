// Package sasltest implements the server side of XOAUTH2 and OAUTHBEARER, for tests that
// imitate a provider. smtpshim itself accepts no tokens from clients.
package sasltest

import (
	"bytes"
	"fmt"
	"strings"

	"smtpshim/proxy/login/sasl"
)

// A Provider imitates a mail provider whose users log in with access tokens.
type Provider struct {
	Tokens map[string]string // the access token of each user

	// Refusal is the JSON that a refused client gets in a 334 before the 535, as from
	// Google and as RFC 7628 requires; "": it gets the 535 at once, as from Microsoft.
	Refusal string
}

// NewServer returns the server of one exchange by mechanism, XOAUTH2 or OAUTHBEARER. For
// any other mechanism the error wraps [sasl.ErrMechanism].
func (p Provider) NewServer(mechanism string) (sasl.Server, error) {
	switch mechanism = strings.ToUpper(mechanism); mechanism {
	case sasl.XOAuth2, sasl.OAuthBearer:
		return &server{provider: p, mechanism: mechanism}, nil
	}
	return nil, fmt.Errorf("%w: %s", sasl.ErrMechanism, mechanism)
}

type server struct {
	provider  Provider
	mechanism string
	user      string
	told      bool // the client has got the Refusal
	over      bool
}

func (s *server) User() string { return s.user }

func (s *server) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case s.over:
		return nil, false, fmt.Errorf("%w: the exchange is over", sasl.ErrMalformed)
	case s.told:
		s.over = true
		want := []byte{}
		if s.mechanism == sasl.OAuthBearer {
			want = []byte{1}
		}
		if !bytes.Equal(response, want) {
			return nil, false, fmt.Errorf("%w: %q in answer to the refusal, want %q", sasl.ErrMalformed, response, want)
		}
		return nil, false, sasl.ErrRefused
	case response == nil:
		return []byte{}, false, nil
	}
	user, token, err := s.parse(string(response))
	if err == nil && token != "" && s.provider.Tokens[user] == token {
		s.over, s.user = true, user
		return nil, true, nil
	}
	if err != nil || s.provider.Refusal == "" {
		s.over = true
		if err == nil {
			err = sasl.ErrRefused
		}
		return nil, false, err
	}
	s.told = true
	return []byte(s.provider.Refusal), false, nil
}

// parse parses fields that end with 0x01, and the empty one after them.
func (s *server) parse(message string) (user, token string, err error) {
	if s.mechanism == sasl.OAuthBearer {
		header, rest, ok := strings.Cut(message, ",\x01")
		if !ok || !strings.HasPrefix(header, "n,a=") {
			return "", "", fmt.Errorf("%w: no GS2 header", sasl.ErrMalformed)
		}
		user = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(header[len("n,a="):])
		message = rest
	}
	body, ok := strings.CutSuffix(message, "\x01\x01")
	if !ok {
		return "", "", fmt.Errorf("%w: it does not end with two 0x01", sasl.ErrMalformed)
	}
	for field := range strings.SplitSeq(body, "\x01") {
		switch key, value, _ := strings.Cut(field, "="); key {
		case "user":
			user = value
		case "auth":
			token = strings.TrimPrefix(value, "Bearer ")
		}
	}
	return user, token, nil
}
