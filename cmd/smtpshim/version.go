package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

func version(args []string, stdout, stderr io.Writer) int {
	if status, ok := parse(flags("version", "", "Prints the version, and what it was built with and for.", stderr), args, 0); !ok {
		return status
	}
	fmt.Fprintf(stdout, "smtpshim %s (%s, %s/%s)\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return succeeded
}

// buildVersion is what the go command knows: the tag of the commit, or what
// stands for it.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
