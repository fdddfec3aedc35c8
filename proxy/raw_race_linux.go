//go:build race

package proxy

// rawOctets is none: the race detector sees those calls alone that the runtime is
// told of.
const rawOctets = 0
