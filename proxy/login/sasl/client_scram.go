package sasl

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

// A scramMechanism is the client of SCRAM-SHA-1 and SCRAM-SHA-256 (RFC 5802, RFC 7677),
// without channel binding.
type scramMechanism struct {
	name string
	// talk returns the exchange. It is a function so that fmt cannot print the content.
	talk     func() *scram.ClientConversation
	step     int
	verified bool // the server has proved that it knows the password
}

func newSCRAMClient(mechanism string, c *scram.Client) *scramMechanism {
	conversation := c.NewConversation()
	return &scramMechanism{name: mechanism, talk: func() *scram.ClientConversation { return conversation }}
}

func (c *scramMechanism) Name() string { return c.name }

func (c *scramMechanism) Start() ([]byte, error) {
	first, err := c.talk().Step("")
	return []byte(first), err
}

func (c *scramMechanism) Next(challenge []byte) ([]byte, error) {
	c.step++
	if c.step > 2 {
		return nil, errTooMany(c.name)
	}
	if c.step == 1 {
		if err := checkIterations(string(challenge)); err != nil {
			return nil, fmt.Errorf("log in by %s: %w", c.name, err)
		}
	}
	response, err := c.talk().Step(string(challenge))
	if err != nil { // the error may quote the server
		return nil, fmt.Errorf("log in by %s: %s", c.name, quoted(err.Error()))
	}
	c.verified = c.talk().Valid()
	return []byte(response), nil
}

// checkIterations refuses a first message of the server that would take us too long to
// answer.
func checkIterations(first string) error {
	for field := range strings.SplitSeq(first, ",") {
		text, ok := strings.CutPrefix(field, "i=")
		if !ok {
			continue
		}
		if n, err := strconv.Atoi(text); err != nil || n < 1 || n > mostIterations {
			return fmt.Errorf("the server asks for %s iterations, want at most %d", quoted(text), mostIterations)
		}
	}
	return nil
}

func (c *scramMechanism) accept() error {
	if !c.verified {
		return errors.New("log in by " + c.name + ": the server accepted and has not proved that it knows the password")
	}
	return nil
}
