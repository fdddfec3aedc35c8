package sasl

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// A User is somebody who may log in to us with a name and a password.
type User struct {
	Name   string
	Secret Secret

	// If NTLMv1 is true, the user may also log in with NTLMv1, which is weak. Exchange
	// 5.0 and 5.5, msmtp, mutt, swaks and Exim use nothing better with the mechanism
	// NTLM.
	NTLMv1 bool
}

// A Lookup finds the user with the given name, if that user may log in. Otherwise it
// returns false, and a User whose secret takes as long to check as that of a real user.
// [Users] makes such a Lookup. A Lookup must be safe for concurrent use.
type Lookup func(name string) (User, bool)

// Users returns a Lookup that finds the users in list by name. It ignores the case of
// names, because old NTLM clients send them in upper case. It is an error if list is
// empty, if a name is empty or has NUL, 0x01, CR or LF, if two names differ only in
// case, or if a user has no secret.
//
// For an unknown name, the Lookup returns a random secret, which is always the same for
// the same name. Like the secret of some user in list, it is in clear or a hash. So
// neither the time that a login takes nor a challenge reveals that there is no such
// user.
func Users(list ...User) (Lookup, error) {
	byName := make(map[string]User, len(list))
	kinds := make([]Secret, 0, len(list))
	for _, u := range list {
		if err := checkText(u.Name, ""); err != nil {
			return nil, fmt.Errorf("user %q: %w", u.Name, err)
		}
		if u.Secret.Zero() {
			return nil, fmt.Errorf("user %q has no password", u.Name)
		}
		folded := strings.ToLower(u.Name)
		if other, ok := byName[folded]; ok {
			return nil, fmt.Errorf("user %q is there twice: also as %q", u.Name, other.Name)
		}
		byName[folded] = u
		if u.Secret.Clear() { // so that the first login takes no longer than others
			u.Secret.scram(SCRAMSHA1, u.Name, true)
			u.Secret.scram(SCRAMSHA256, u.Name, true)
		}
		kinds = append(kinds, decoy(u.Secret))
	}
	if len(list) == 0 {
		return nil, errors.New("no users")
	}
	var key [sha256.Size]byte
	rand.Read(key[:]) // never fails
	return func(name string) (User, bool) {
		folded := strings.ToLower(name)
		mac := hmac.New(sha256.New, key[:])
		mac.Write([]byte(folded))
		sum := mac.Sum(nil)
		unknown := User{Name: name, Secret: kinds[binary.BigEndian.Uint64(sum)%uint64(len(kinds))]}
		if u, ok := byName[folded]; ok {
			return u, true
		}
		return unknown, false
	}, nil
}

// decoy returns an unknown secret of the same kind as s.
func decoy(s Secret) Secret {
	random := rand.Text()
	if s.Clear() {
		return Password(random)
	}
	// A hash that no known password matches, with the cost of s. Salt and sum are 53
	// octets in the alphabet of bcrypt.
	cost, _ := bcrypt.Cost(s.held().hash) // Hash has checked it
	return newSecret(&held{hash: fmt.Appendf(nil, "$2a$%02d$%.53s", cost, random+rand.Text()+rand.Text())})
}
