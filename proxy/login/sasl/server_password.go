package sasl

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"fmt"
	"strings"
)

// plain checks the only message of PLAIN (RFC 4616): who to act as, who logs in,
// and the password. Nobody acts as somebody else.
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

// The prompts of LOGIN as servers word them. Clients such as Outlook ignore what
// they say, others look for just these.
const (
	promptUser     = "Username:"
	promptPassword = "Password:"
)

// login takes the user of LOGIN, on the AUTH line or after a prompt.
func (s *server) login(response []byte) ([]byte, bool, error) {
	if len(response) == 0 { // there was none, or "="
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

// cram sends the challenge of CRAM-MD5 (RFC 2195): a message identifier that was
// never used before. The client may not speak first.
func (s *server) cram(response []byte) ([]byte, bool, error) {
	if len(response) > 0 {
		return nil, false, fmt.Errorf("%w: CRAM-MD5 has no initial response", ErrMalformed)
	}
	challenge := fmt.Appendf(nil, "<%s@%s>", rand.Text(), s.host())
	s.next = func(response []byte) ([]byte, bool, error) { return s.cramAnswer(challenge, response) }
	return challenge, false, nil
}

func (s *server) cramAnswer(challenge, response []byte) ([]byte, bool, error) {
	// A user may have blanks in its name, so the last one counts.
	space := bytes.LastIndexByte(response, ' ')
	if space <= 0 {
		return nil, false, fmt.Errorf("%w: CRAM-MD5 wants a user, a space and a digest", ErrMalformed)
	}
	u, known := s.find(string(response[:space]))
	// Without the password in clear nothing is right, and a random one costs the
	// same time.
	password, err := u.Secret.reveal()
	if err != nil {
		password = rand.Text()
	}
	want := cramDigest(password, challenge)
	got := bytes.ToLower(response[space+1:])
	done, err := s.settle(u, known, hmac.Equal(got, []byte(want)))
	return nil, done, err
}
