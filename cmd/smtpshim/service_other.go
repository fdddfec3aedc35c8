//go:build !windows

package main

import (
	"io"
	"os"
)

// asService is for Windows. Elsewhere a service is a process like any other.
func asService(func(<-chan os.Signal, io.Writer) int) (status int, ok bool) { return 0, false }
