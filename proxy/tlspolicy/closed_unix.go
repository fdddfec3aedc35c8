//go:build unix

package tlspolicy

import "syscall"

// hungUp are the errors of the system that say the peer has closed.
var hungUp = []error{syscall.ECONNRESET, syscall.EPIPE}
