package sasl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// An Identity is who we are to a server. One of Password and Token is set.
type Identity struct {
	User     string // such as scanner@example.com; for NTLM also DOMAIN\user
	Password Secret // a password in clear
	Token    Secret // an OAuth access token

	// The server that a token is meant for, as OAUTHBEARER tells it (RFC 7628, section
	// 3.1). Both may be left out.
	Host string
	Port uint16
}

// passwordOrder and tokenOrder name the mechanisms of clients, the strongest
// first. XOAUTH2 precedes OAUTHBEARER because both Microsoft and Google document
// it.
func passwordOrder() []string { return []string{SCRAMSHA256, SCRAMSHA1, CRAMMD5, NTLM, Plain, Login} }
func tokenOrder() []string    { return []string{XOAuth2, OAuthBearer} }

// ClientMechanisms returns the mechanisms that [Strongest] chooses from, the
// strongest first: those of a password, then those of a token.
func ClientMechanisms() []string { return append(passwordOrder(), tokenOrder()...) }

// Strongest returns the client of the strongest mechanism for what the identity
// has, a password or a token, among those that the server offers, as the reply to
// EHLO has them after AUTH, and that allowed names; nil allows all. Case does not
// matter. The error wraps [ErrMechanism] if there is none, and says what is
// offered and what would be allowed.
func Strongest(offered, allowed []string, who Identity) (Client, error) {
	order := passwordOrder()
	if !who.Token.Zero() {
		order = tokenOrder()
	}
	if allowed != nil {
		order = slices.DeleteFunc(order, func(name string) bool { return !containsFold(allowed, name) })
	}
	for _, name := range order {
		if containsFold(offered, name) {
			return NewClient(name, who)
		}
	}
	offer := "the server offers no mechanism"
	if len(offered) > 0 {
		offer = "the server offers " + quoted(strings.Join(offered, " "))
	}
	if len(order) == 0 {
		return nil, fmt.Errorf("choose a mechanism: %w: %s; the mechanisms that are allowed (%s) do not fit the account",
			ErrMechanism, offer, strings.Join(allowed, " "))
	}
	return nil, fmt.Errorf("choose a mechanism: %w: %s; one of %s is needed", ErrMechanism, offer, strings.Join(order, " "))
}

func containsFold(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// NewClient returns the client of one mechanism. The error wraps [ErrMechanism] if
// the mechanism is unknown.
func NewClient(mechanism string, who Identity) (Client, error) {
	mechanism = strings.ToUpper(mechanism)
	secret := who.Password
	if slices.Contains(tokenOrder(), mechanism) {
		secret = who.Token
	}
	text, err := secret.reveal()
	if err == nil {
		err = checkText(who.User, text)
	}
	if err != nil {
		return nil, fmt.Errorf("log in by %s: %w", mechanism, err)
	}
	switch mechanism {
	case Plain:
		return &plainClient{user: who.User, password: secret}, nil
	case Login:
		return &loginClient{user: who.User, password: secret}, nil
	case CRAMMD5:
		return &cramClient{user: who.User, password: secret}, nil
	case NTLM:
		return &ntlmClient{user: who.User, password: secret}, nil
	case SCRAMSHA1, SCRAMSHA256:
		return newSCRAMClient(mechanism, scramClient(mechanism, who.User, text)), nil
	case XOAuth2, OAuthBearer:
		return &oauthClient{name: mechanism, who: who}, nil
	}
	return nil, fmt.Errorf("log in by %s: %w", quoted(mechanism), ErrMechanism)
}

// checkText refuses what no mechanism can carry (RFC 4616, section 2) and what
// could be taken for another field of XOAUTH2.
func checkText(user, secret string) error {
	switch {
	case user == "":
		return errors.New("no user")
	case strings.ContainsAny(user, "\x00\x01\r\n"):
		return errors.New("the user holds a control character")
	case strings.ContainsAny(secret, "\x00\x01\r\n"):
		return errors.New("the password or token holds a control character")
	}
	return nil
}

// Accept reports whether the server's yes may count: the error is nil unless the
// mechanism has the server prove itself, as SCRAM does, and it has not, or the
// exchange was not at a place where a yes can follow.
func Accept(c Client) error {
	if v, ok := c.(interface{ accept() error }); ok {
		return v.accept()
	}
	return nil
}

// Explanation returns why the server refused, as far as the exchange said so and in
// words that are safe to log, and else "". XOAUTH2 and OAUTHBEARER have one.
func Explanation(c Client) string {
	if e, ok := c.(interface{ explanation() string }); ok {
		return e.explanation()
	}
	return ""
}

// errTooMany is the answer to a challenge after the last.
func errTooMany(name string) error {
	return fmt.Errorf("log in by %s: the server asks for more than the mechanism has", name)
}
