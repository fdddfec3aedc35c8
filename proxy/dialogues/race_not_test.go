//go:build !race

package dialogues_test

// racing says that the race detector looks on.
const racing = false
