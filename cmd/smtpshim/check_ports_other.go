//go:build !unix

package main

import "net/netip"

// bindOnly does nothing, because on this system other programs could notice it.
func bindOnly(netip.AddrPort) error { return nil }

func isRoot() bool { return false }
