//go:build !linux

package main

import "net/netip"

// holderOf knows no process: only Linux shows which one listens.
func holderOf(netip.AddrPort) (pid int, program string, ours bool) { return 0, "", false }

// firstFreePort returns the first port that every user may bind.
func firstFreePort() int { return 1024 }
