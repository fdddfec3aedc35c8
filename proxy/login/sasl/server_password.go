package sasl

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"fmt"
	"strings"
)

// plain checks the only message of PLAIN (RFC 4616): the user to act as, the user who
// logs in, and the password. Nobody may act as another user.
func (s *server) plain(response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	fields := bytes.Split(response, []byte{0})
	if len(fields) != 3 || len(fields[1]) == 0 {
		return nil, false, fmt.Errorf("%w: PLAIN has %d fields, want 3 with a user", ErrMalformed, len(fields))
	}
	actAs, name := string(fields[0]), string(fields[1])
	done, err := s.check(name, fields[2])
	if err == nil && actAs != "" && actAs != name && !strings.EqualFold(actAs, s.user) {
		s.user = ""
		return nil, false, errActAs
	}
	return nil, done, err
}

// The prompts of LOGIN in their usual form. Clients such as Outlook ignore the text,
// others require it.
const (
	promptUser     = "Username:"
	promptPassword = "Password:"
)

// login handles the user of LOGIN, which comes on the AUTH line or after a prompt.
func (s *server) login(response []byte) ([]byte, bool, error) {
	if len(response) == 0 { // no initial response, or "="
		s.next = s.loginUser
		return []byte(promptUser), false, nil
	}
	return s.loginUser(response)
}

func (s *server) loginUser(response []byte) ([]byte, bool, error) {
	if len(response) == 0 || bytes.IndexByte(response, 0) >= 0 {
		return nil, false, fmt.Errorf("%w: LOGIN without a user", ErrMalformed)
	}
	name := string(response)
	s.next = func(password []byte) ([]byte, bool, error) {
		done, err := s.check(name, password)
		return nil, done, err
	}
	return []byte(promptPassword), false, nil
}

// cram sends the challenge of CRAM-MD5 (RFC 2195), a unique message identifier. The
// client must not speak first.
func (s *server) cram(response []byte) ([]byte, bool, error) {
	if len(response) > 0 {
		return nil, false, fmt.Errorf("%w: CRAM-MD5 has no initial response", ErrMalformed)
	}
	challenge := fmt.Appendf(nil, "<%s@%s>", rand.Text(), s.host())
	s.next = func(response []byte) ([]byte, bool, error) { return s.cramAnswer(challenge, response) }
	return challenge, false, nil
}

func (s *server) cramAnswer(challenge, response []byte) ([]byte, bool, error) {
	// The name of the user may contain blanks, so the last blank separates.
	space := bytes.LastIndexByte(response, ' ')
	if space <= 0 {
		return nil, false, fmt.Errorf("%w: CRAM-MD5 wants a user, a space and a digest", ErrMalformed)
	}
	u, known := s.find(string(response[:space]))
	// Without a password in clear no answer can be right. Checking it against a random
	// password takes the same time.
	password, err := u.Secret.reveal()
	if err != nil {
		password = rand.Text()
	}
	want := cramDigest(password, challenge)
	got := bytes.ToLower(response[space+1:])
	done, err := s.settle(u, known, hmac.Equal(got, []byte(want)))
	return nil, done, err
}
