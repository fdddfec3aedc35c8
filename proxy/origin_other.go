//go:build !linux

package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
)

var errUntracked = errors.New("no original destination")

// tracked is never called: checkOrigin refuses the route.
func tracked(net.Conn, bool) (netip.AddrPort, error) { return netip.AddrPort{}, errUntracked }

func checkOrigin() error {
	return fmt.Errorf("%s needs Linux, whose firewall knows where connections were going; this is %s", OriginalDestination, runtime.GOOS)
}
