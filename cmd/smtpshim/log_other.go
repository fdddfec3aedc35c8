//go:build !linux && !windows

package main

import "io"

// isJournal returns false, because there is no systemd.
func isJournal(io.Writer, string) bool { return false }
