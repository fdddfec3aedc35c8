package smtptest

import (
	"fmt"
	"math/rand/v2"
	"runtime"
)

// Loopback is an address of this machine to listen on, drawn from all of 127/8 so
// that nobody else has it: a port there that its listener has given up stays free.
// On 127.0.0.1 the next test or program may have it at once. Only Linux has all of
// 127/8; other systems get 127.0.0.1.
func Loopback() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.N(250), rand.N(250), 1+rand.N(250))
}
