package sasl

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Realm is what a [Server] must know: the users who may log in, our host name and the
// time.
type Realm struct {
	Lookup Lookup
	Host   string           // our host name, for challenges; "": localhost
	Now    func() time.Time // the time that NTLM tells clients; nil: time.Now
}

// NewServer returns the server of one exchange by mechanism, for the users of realm. The
// error wraps [ErrMechanism] if the mechanism is unknown. NewServer does not check whether
// the mechanism was offered.
func NewServer(mechanism string, realm Realm) (Server, error) {
	s := &server{realm: realm}
	switch mechanism = strings.ToUpper(mechanism); mechanism {
	case Plain:
		s.next = s.plain
	case Login:
		s.next = s.login
	case CRAMMD5:
		s.next = s.cram
	case NTLM:
		s.next = s.ntlm
	case SCRAMSHA1, SCRAMSHA256:
		s.next = s.scram(mechanism)
	default:
		return nil, fmt.Errorf("%w: %s", ErrMechanism, quoted(mechanism))
	}
	return s, nil
}

// Mechanisms returns the mechanisms that can check all of secrets, the strongest first;
// none if there are no secrets. If one of secrets is a hash, these are PLAIN and LOGIN.
// All users are offered the same mechanisms, so one that fails for some users is left
// out.
func Mechanisms(secrets ...Secret) []string {
	if len(secrets) == 0 {
		return nil
	}
	if slices.ContainsFunc(secrets, func(s Secret) bool { return !s.Clear() }) {
		return []string{Plain, Login}
	}
	return passwordOrder()
}

// A server is one exchange. next is the next step. Only the step holds what the client
// has said, so that fmt does not print it.
type server struct {
	realm  Realm
	next   step
	user   string
	spoken bool // the client has begun
	ended  bool
}

// A step handles one message of the client.
type step func(response []byte) (challenge []byte, done bool, err error)

func (s *server) User() string { return s.user }

func (s *server) Next(response []byte) (challenge []byte, done bool, err error) {
	if s.ended {
		return nil, false, fmt.Errorf("%w: the exchange is over", ErrMalformed)
	}
	if s.spoken && response == nil {
		response = []byte{}
	}
	s.spoken = true
	challenge, done, err = s.next(response)
	s.ended = done || err != nil
	if !done || err != nil {
		return challenge, false, err
	}
	return nil, true, nil
}

func (s *server) host() string {
	if s.realm.Host == "" {
		return "localhost"
	}
	return s.realm.Host
}

// find returns the user that Lookup finds. Its secret is never zero.
func (s *server) find(name string) (u User, known bool) {
	u, known = s.realm.Lookup(name)
	if u.Secret.Zero() {
		return User{Name: name, Secret: Password(rand.Text())}, false
	}
	return u, known
}

// check compares a password with that of a user.
func (s *server) check(name string, password []byte) (done bool, err error) {
	u, known := s.find(name)
	right := u.Secret.matches(password)
	return s.settle(u, known, right)
}

// errActAs refuses a client that logs in and asks to act as another user.
var errActAs = fmt.Errorf("%w: the client asks to act as another user", ErrRefused)

// settle ends the exchange. The time that the caller has spent must not depend on whether
// the user is known.
func (s *server) settle(u User, known, right bool) (done bool, err error) {
	switch {
	case !known:
		return false, fmt.Errorf("%w: no such user", ErrRefused)
	case !right:
		return false, fmt.Errorf("%w: wrong password", ErrRefused)
	}
	s.user = u.Name
	return true, nil
}
