//go:build !windows

package main

import (
	"io"
	"os"
)

// asService is for Windows. On other systems a service is an ordinary process.
func asService(func(<-chan os.Signal, io.Writer) int) (status int, ok bool) { return 0, false }
