//go:build !linux

package main

import "net/netip"

// holderOf knows nobody: only Linux tells who listens.
func holderOf(netip.AddrPort) (pid int, program string, ours bool) { return 0, "", false }

// firstFreePort is the first one that everybody may bind.
func firstFreePort() int { return 1024 }
