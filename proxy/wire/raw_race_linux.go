//go:build race

package wire

// rawOctets is none: the race detector sees those calls alone that the runtime is
// told of.
const rawOctets = 0
