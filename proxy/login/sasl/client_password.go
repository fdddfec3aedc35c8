package sasl

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"strings"
)

// A plainClient is the client of PLAIN.
type plainClient struct {
	user     string
	password Secret
}

func (c *plainClient) Name() string { return Plain }

func (c *plainClient) Start() ([]byte, error) {
	password, err := c.password.reveal()
	return []byte("\x00" + c.user + "\x00" + password), err
}

func (c *plainClient) Next([]byte) ([]byte, error) { return nil, errTooMany(Plain) }

// A loginClient is the client of LOGIN. It answers the first prompt with the user and the
// second with the password, whatever the prompts say. Servers send "Username:", "User
// Name\x00", other languages, and nothing.
type loginClient struct {
	user     string
	password Secret
	step     int
	prompt   string // the first prompt
}

func (c *loginClient) Name() string { return Login }

// Start returns nil: LOGIN is used without an initial response, because servers
// disagree on what one means.
func (c *loginClient) Start() ([]byte, error) { return nil, nil }

func (c *loginClient) Next(challenge []byte) ([]byte, error) {
	c.step++
	switch c.step {
	case 1:
		c.prompt = strings.ToLower(string(challenge))
		return []byte(c.user), nil
	case 2:
		// A server that asks for the user again would write the password to its log.
		if c.prompt == strings.ToLower(string(challenge)) && strings.Contains(c.prompt, "user") {
			return nil, errors.New("log in by LOGIN: the server asks for the user again")
		}
		password, err := c.password.reveal()
		return []byte(password), err
	}
	return nil, errTooMany(Login)
}

// A cramClient is the client of CRAM-MD5.
type cramClient struct {
	user     string
	password Secret
	answered bool
}

func (c *cramClient) Name() string { return CRAMMD5 }

func (c *cramClient) Start() ([]byte, error) { return nil, nil }

func (c *cramClient) Next(challenge []byte) ([]byte, error) {
	if c.answered {
		return nil, errTooMany(CRAMMD5)
	}
	c.answered = true
	password, err := c.password.reveal()
	return []byte(c.user + " " + cramDigest(password, challenge)), err
}

// cramDigest returns the digest of RFC 2195, section 2.
func cramDigest(password string, challenge []byte) string {
	mac := hmac.New(md5.New, []byte(password))
	mac.Write(challenge)
	return hex.EncodeToString(mac.Sum(nil))
}
