package sasl

import (
	"encoding/json"
	"fmt"
	"strings"
)

// An oauthClient is the client of XOAUTH2 and OAUTHBEARER.
type oauthClient struct {
	name    string
	who     Identity
	refused bool   // the server has sent its error
	why     string // the server's error in words that are safe to log
}

func (c *oauthClient) Name() string { return c.name }

func (c *oauthClient) Start() ([]byte, error) {
	token, err := c.who.Token.reveal()
	if err != nil {
		return nil, err
	}
	if c.name == XOAuth2 {
		return []byte("user=" + c.who.User + "\x01auth=Bearer " + token + "\x01\x01"), nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "n,a=%s,\x01", saslname.Replace(c.who.User))
	if c.who.Host != "" {
		fmt.Fprintf(&b, "host=%s\x01", c.who.Host)
	}
	if c.who.Port != 0 {
		fmt.Fprintf(&b, "port=%d\x01", c.who.Port)
	}
	fmt.Fprintf(&b, "auth=Bearer %s\x01\x01", token)
	return []byte(b.String()), nil
}

// saslname escapes a name in the header of GS2 (RFC 5801, section 4).
var saslname = strings.NewReplacer("=", "=3D", ",", "=2C")

// Next answers the only challenge that there can be: the error that a server sends
// before it refuses. The answer is empty in XOAUTH2, and 0x01 in OAUTHBEARER (RFC 7628,
// section 3.2.3).
func (c *oauthClient) Next(challenge []byte) ([]byte, error) {
	if c.refused {
		return nil, errTooMany(c.name)
	}
	c.refused = true
	token, err := c.who.Token.reveal()
	if err != nil {
		return nil, err
	}
	c.why = explain(challenge, token)
	if c.name == XOAuth2 {
		return []byte{}, nil
	}
	return []byte{1}, nil
}

// accept fails if the server has sent its error before the positive reply.
func (c *oauthClient) accept() error {
	if c.refused {
		return fmt.Errorf("log in by %s: the server accepted after it had refused the token", c.name)
	}
	return nil
}

func (c *oauthClient) explanation() string { return c.why }

// explain returns a server's error in words. It omits a value that contains the token, or
// that the token contains, if the value is long enough to matter.
func explain(challenge []byte, token string) string {
	var e struct {
		Status any    `json:"status"` // some servers send a number
		Scope  string `json:"scope"`
	}
	if json.Unmarshal(challenge, &e) != nil {
		if len(challenge) == 0 {
			return "the server refused the token and gave no reason"
		}
		return fmt.Sprintf("the server refused the token; its reason, of %d octets, is no JSON", len(challenge))
	}
	safe := func(text string) string {
		const most = 100 // octets
		text = text[:min(len(text), most)]
		const telling = 16 // octets of a token that would reveal it
		for at := 0; at+telling <= len(text); at++ {
			if strings.Contains(token, text[at:at+telling]) {
				return hidden
			}
		}
		if strings.Contains(text, token) {
			return hidden
		}
		return quoted(text)
	}
	words := "the server refused the token"
	switch status := e.Status.(type) {
	case string:
		words += ": status " + safe(status)
	case float64:
		words += fmt.Sprintf(": status %g", status)
	}
	if e.Scope != "" {
		words += ", scope " + safe(e.Scope)
	}
	return words
}
