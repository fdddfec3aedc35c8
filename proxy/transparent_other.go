//go:build !linux

package proxy

import (
	"fmt"
	"runtime"
)

// choosePortLate does nothing: the system decides.
func choosePortLate(int) error { return nil }

func setTransparent(int, bool) error { return checkTransparent() }

func acceptTransparently(int) error { return checkTransparent() }

func checkTransparent() error {
	return fmt.Errorf("transparent sockets need Linux (IP_TRANSPARENT); this is %s", runtime.GOOS)
}
