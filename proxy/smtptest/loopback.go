package smtptest

import (
	"fmt"
	"math/rand/v2"
	"runtime"
)

// Loopback returns an address of this machine to listen on, at random from all of 127/8.
// A port there stays free after its listener was closed, whereas on 127.0.0.1 the next
// test or program may get it at once. Only Linux has all of 127/8; on other systems the
// result is 127.0.0.1.
func Loopback() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.N(250), rand.N(250), 1+rand.N(250))
}
