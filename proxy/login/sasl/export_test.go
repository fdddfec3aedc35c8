package sasl

import "golang.org/x/crypto/bcrypt"

// Cost is the cost of a secret that is a hash.
func Cost(s Secret) int {
	cost, err := bcrypt.Cost(s.held().hash)
	if err != nil {
		return -1
	}
	return cost
}
