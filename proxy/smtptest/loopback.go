package smtptest

import (
	"fmt"
	"math/rand/v2"
	"runtime"
)

// Loopback returns a random IP address of 127/8 to listen on, without a port. A port of
// that address stays free after its listener is closed, because nobody else uses the
// address. On 127.0.0.1, the next test or program may get the port at once. Only Linux
// has all of 127/8: on other systems the result is 127.0.0.1.
func Loopback() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.N(250), rand.N(250), 1+rand.N(250))
}
