//go:build unix

package tlspolicy

import "syscall"

// hungUp are the system errors that mean that the peer has closed the connection.
var hungUp = []error{syscall.ECONNRESET, syscall.EPIPE}
