package sasl

import (
	"fmt"
	"strings"

	"github.com/xdg-go/scram"
)

// scram handles the client's first message of SCRAM (RFC 5802, section 5).
func (s *server) scram(mechanism string) step {
	return func(response []byte) ([]byte, bool, error) {
		if response == nil {
			return []byte{}, false, nil
		}
		var u User
		var known bool
		lookup := func(name string) (scram.StoredCredentials, error) {
			u, known = s.find(name)
			return u.Secret.scram(mechanism, name, known), nil
		}
		checker, err := scramHash(mechanism).NewServer(lookup)
		if err != nil {
			return nil, false, err
		}
		talk := checker.NewConversation()
		challenge, err := talk.Step(string(response))
		if err != nil { // the error may quote the client
			return nil, false, fmt.Errorf("%w: no first message of %s without channel binding", ErrMalformed, mechanism)
		}
		s.next = func(response []byte) ([]byte, bool, error) { return s.scramFinal(talk, u, known, response) }
		return []byte(challenge), false, nil
	}
}

// scramFinal checks the client's proof, and proves that we know the password. The client
// is logged in when it has answered that.
func (s *server) scramFinal(talk *scram.ServerConversation, u User, known bool, response []byte) ([]byte, bool, error) {
	proof, err := talk.Step(string(response))
	if err != nil && proof == "" {
		return nil, false, fmt.Errorf("%w: no final message of SCRAM", ErrMalformed)
	}
	right := err == nil && talk.Valid() && u.Secret.Clear()
	if _, err := s.settle(u, known, right); err != nil {
		return nil, false, err
	}
	user := s.user
	s.user = "" // not yet logged in
	if actAs := talk.AuthzID(); actAs != "" && actAs != talk.Username() && !strings.EqualFold(actAs, user) {
		return nil, false, errActAs
	}
	s.next = func(response []byte) ([]byte, bool, error) {
		if len(response) > 0 {
			return nil, false, fmt.Errorf("%w: %d octets in answer to our proof, want none", ErrMalformed, len(response))
		}
		s.user = user
		return nil, true, nil
	}
	return []byte(proof), false, nil
}
