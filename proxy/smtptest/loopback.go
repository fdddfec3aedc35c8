package smtptest

import (
	"fmt"
	"math/rand/v2"
	"runtime"
)

// Loopback returns a random IP address of 127/8 to listen on, without a port. On Linux
// it is almost certain that nobody else uses that address: when a listener on it is
// closed, its port stays free. Other systems do not have all of 127/8, and Loopback
// returns 127.0.0.1, where the next test or program may get the port at once.
func Loopback() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.N(250), rand.N(250), 1+rand.N(250))
}
