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

// Strongest returns a client that logs in as identity by the strongest possible
// mechanism. If identity has a password, only mechanisms for passwords are possible; if
// it has a token, only those for tokens. The mechanism must be in offered, the words
// after AUTH in the reply to EHLO. It must also be in allowed, unless allowed is nil.
// Case is ignored. If there is no such mechanism, the error wraps [ErrMechanism] and
// says which mechanisms are offered and which would be allowed. Other errors are those
// of [NewClient].
func Strongest(offered, allowed []string, identity Identity) (Client, error) {
	order := passwordOrder()
	if !identity.Token.Zero() {
		order = tokenOrder()
	}
	if allowed != nil {
		order = slices.DeleteFunc(order, func(name string) bool { return !containsFold(allowed, name) })
	}
	for _, name := range order {
		if containsFold(offered, name) {
			return NewClient(name, identity)
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

// NewClient returns a client that logs in as identity by mechanism, which may be in
// upper or lower case. The error wraps [ErrMechanism] if the mechanism is unknown. It
// is also an error if the user, or the password or token that the mechanism needs, is
// missing or has a character that cannot be sent, such as NUL or CR.
func NewClient(mechanism string, identity Identity) (Client, error) {
	mechanism = strings.ToUpper(mechanism)
	if !slices.Contains(ClientMechanisms(), mechanism) {
		return nil, fmt.Errorf("log in by %s: %w", quoted(mechanism), ErrMechanism)
	}
	secret := identity.Password
	if slices.Contains(tokenOrder(), mechanism) {
		secret = identity.Token
	}
	text, err := secret.reveal()
	if err == nil {
		err = checkText(identity.User, text)
	}
	if err != nil {
		return nil, fmt.Errorf("log in by %s: %w", mechanism, err)
	}
	switch mechanism {
	case Plain:
		return &plainClient{user: identity.User, password: secret}, nil
	case Login:
		return &loginClient{user: identity.User, password: secret}, nil
	case CRAMMD5:
		return &cramClient{user: identity.User, password: secret}, nil
	case NTLM:
		return &ntlmClient{user: identity.User, password: secret}, nil
	case SCRAMSHA1, SCRAMSHA256:
		return newSCRAMClient(mechanism, scramClient(mechanism, identity.User, text)), nil
	}
	return &oauthClient{name: mechanism, who: identity}, nil
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

// Accept is for use after the server's positive reply to the exchange of c. It returns an
// error if that reply cannot be relied on: with NTLM, if the client has not answered a
// challenge; with XOAUTH2 and OAUTHBEARER, if the server has sent its error before; with
// SCRAM, if the server has not proved that it knows the password. For other mechanisms it
// returns nil.
func Accept(c Client) error {
	if v, ok := c.(interface{ accept() error }); ok {
		return v.accept()
	}
	return nil
}

// Explanation returns why the server of c refused, in words that are safe to log. Only
// with XOAUTH2 and OAUTHBEARER does a server say why: in a challenge before it refuses.
// Explanation returns "" for other mechanisms, and if there was no such challenge.
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
