package sasl

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"smtpshim/proxy/login/ntlm"
)

// ntlm handles the NEGOTIATE_MESSAGE of NTLM, which comes on the AUTH line or after an
// empty challenge ([MS-SMTPNTLM] 3.2.5).
func (s *server) ntlm(response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	now := time.Now
	if s.realm.Now != nil {
		now = s.realm.Now
	}
	x, err := ntlm.Begin(response, s.host(), now())
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	s.next = func(response []byte) ([]byte, bool, error) { return s.ntlmAnswer(x, response) }
	return x.Challenge(), false, nil
}

func (s *server) ntlmAnswer(x *ntlm.Exchange, response []byte) ([]byte, bool, error) {
	answer, err := x.Authenticate(response)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var u User
	var known bool
	for _, name := range answer.Names() {
		if u, known = s.find(name); known {
			break
		}
	}
	// Without a password in clear no answer can be right. Checking it against a random
	// password takes the same time.
	password, err := u.Secret.reveal()
	if err != nil {
		password = rand.Text()
	}
	err = answer.Check(password, u.NTLMv1)
	if known && err != nil && !errors.Is(err, ntlm.ErrWrong) {
		return nil, false, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	done, err := s.settle(u, known, err == nil)
	return nil, done, err
}
