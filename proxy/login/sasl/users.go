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

// A User may log in to us.
type User struct {
	Name   string
	Secret Secret

	// NTLMv1 accepts answers of NTLMv1 too, which are weak. Exchange 5.0 and 5.5,
	// msmtp, mutt, swaks and Exim know no others.
	NTLMv1 bool
}

// A Lookup finds who may log in. If there is no such user it returns false, and a
// User with a secret that costs as much to check as a real one; [Users] does so.
// It is for concurrent use.
type Lookup func(name string) (User, bool)

// Users returns the Lookup of a fixed set. A name is found in any case, since old
// NTLM clients send it in capitals. It is an error if two names differ in nothing
// but case, or a user has no secret.
//
// For a name that is unknown the Lookup returns a secret of the kind of some
// user's, always of the same kind for the same name, so neither time nor a
// challenge tells that there is no such user.
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
		if u.Secret.Clear() { // now, so that the first login costs no more than others
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

// decoy returns a secret of the same kind as s that nobody knows.
func decoy(s Secret) Secret {
	random := rand.Text()
	if s.Clear() {
		return Password(random)
	}
	// The hash of no known password, which costs as much as s: salt and sum are
	// 53 octets in the alphabet of bcrypt.
	cost, _ := bcrypt.Cost(s.held().hash) // Hash has looked
	return newSecret(&held{hash: fmt.Appendf(nil, "$2a$%02d$%.53s", cost, random+rand.Text()+rand.Text())})
}
