package sasl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// An Identity is what we present to a server. Exactly one of Password and Token must be
// set.
type Identity struct {
	User     string // such as scanner@example.com; for NTLM also DOMAIN\user
	Password Secret // a password in clear
	Token    Secret // an OAuth access token

	// Host and Port name the server that a token is meant for, as OAUTHBEARER states it
	// (RFC 7628, section 3.1). Both are optional.
	Host string
	Port uint16
}

// passwordOrder and tokenOrder return the mechanisms of clients, the strongest first.
// XOAUTH2 precedes OAUTHBEARER because Microsoft and Google both document it.
func passwordOrder() []string { return []string{SCRAMSHA256, SCRAMSHA1, CRAMMD5, NTLM, Plain, Login} }
func tokenOrder() []string    { return []string{XOAuth2, OAuthBearer} }

// ClientMechanisms returns the mechanisms that [Strongest] chooses from, the strongest
// first: those for a password, then those for a token.
func ClientMechanisms() []string { return append(passwordOrder(), tokenOrder()...) }

// Strongest returns a client of who for the strongest mechanism that the server and we
// allow. The mechanism must fit the password or token of who. It must be among offered,
// the words after AUTH in the reply to EHLO, and among allowed, if that is not nil. Case
// is ignored. If there is no such mechanism, the error wraps [ErrMechanism] and says which
// mechanisms are offered and which would be allowed.
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

// NewClient returns a client that logs in as who by mechanism, in any case. The error
// wraps [ErrMechanism] if the mechanism is unknown. It is also an error if the user, or
// the password or token that the mechanism needs, is missing or cannot be sent.
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

// checkText refuses characters that no mechanism can carry (RFC 4616, section 2), or that
// XOAUTH2 would take for the separator of fields.
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

// Accept returns nil if c accepts a positive reply of the server. It returns an error if
// the mechanism makes the server prove itself, as SCRAM does, and the server has not, or
// if the exchange was not complete.
func Accept(c Client) error {
	if v, ok := c.(interface{ accept() error }); ok {
		return v.accept()
	}
	return nil
}

// Explanation returns the server's reason for a refusal, in words that are safe to log, if
// the server has given one in the exchange of c, as with XOAUTH2 and OAUTHBEARER.
// Otherwise it returns "".
func Explanation(c Client) string {
	if e, ok := c.(interface{ explanation() string }); ok {
		return e.explanation()
	}
	return ""
}

// errTooMany returns the error for a challenge after the last one.
func errTooMany(name string) error {
	return fmt.Errorf("log in by %s: the server asks for more than the mechanism has", name)
}
