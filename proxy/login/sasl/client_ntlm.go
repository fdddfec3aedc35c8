package sasl

import (
	"errors"
	"fmt"

	"github.com/Azure/go-ntlmssp"
)

// An ntlmClient is the client of NTLM. It answers with NTLMv2 only. The user may be
// DOMAIN\user or user@domain.
type ntlmClient struct {
	user     string
	password Secret
	answered bool
}

func (c *ntlmClient) Name() string { return NTLM }

// Start returns the NEGOTIATE_MESSAGE. It may be sent on the AUTH line: Exchange, Exim,
// Cyrus and Dovecot accept it there.
func (c *ntlmClient) Start() ([]byte, error) { return ntlmssp.NewNegotiateMessage("", "") }

func (c *ntlmClient) Next(challenge []byte) (response []byte, err error) {
	if c.answered {
		return nil, errTooMany(NTLM)
	}
	c.answered = true
	password, err := c.password.reveal()
	if err != nil {
		return nil, err
	}
	response, err = ntlmssp.NewAuthenticateMessage(challenge, c.user, password, nil)
	if err != nil { // the error may quote the server
		return nil, fmt.Errorf("log in by NTLM: %s", quoted(err.Error()))
	}
	return response, nil
}

// accept fails if the challenge was not answered: the reply would not be for this login.
func (c *ntlmClient) accept() error {
	if !c.answered {
		return errors.New("log in by NTLM: the server accepted before it had the response")
	}
	return nil
}
