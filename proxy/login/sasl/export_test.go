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

// SCRAMClient is a client whose nonce is known, and which asks to act as somebody
// if actAs is not "".
func SCRAMClient(mechanism, user, password, actAs, nonce string) Client {
	c, err := scramHash(mechanism).NewClient(user, password, actAs)
	if err != nil {
		panic(err)
	}
	return newSCRAMClient(mechanism, c.WithNonceGenerator(func() string { return nonce }))
}
