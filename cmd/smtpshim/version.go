package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// release is the version, set by the build with go build -ldflags "-X
// main.release=1.2.3".
var release string

func version(args []string, stdout, stderr io.Writer) int {
	if status, ok := parse(flags("version", "", "Prints the version, and what it was built from, with and for.", stderr), args, 0); !ok {
		return status
	}
	fmt.Fprintf(stdout, "smtpshim %s\n%s, %s, %s/%s\n", buildVersion(), buildCommit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return succeeded
}

// buildVersion returns the release, or what the go command knows: the tag of the commit,
// or its pseudo-version.
func buildVersion() string {
	known := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		known = info.Main.Version
	}
	return cmp.Or(release, known, "(devel)")
}

// buildCommit returns the commit and its time, as the go command recorded them.
func buildCommit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return commitOf(nil)
	}
	return commitOf(info.Settings)
}

// commitOf is buildCommit for the settings with which a program was built.
func commitOf(settings []debug.BuildSetting) string {
	found := map[string]string{}
	for _, s := range settings {
		found[s.Key] = s.Value
	}
	commit := found["vcs.revision"]
	if commit == "" {
		return "commit unknown"
	}
	text := "commit " + commit[:min(12, len(commit))]
	if found["vcs.modified"] == "true" {
		text += " and changes"
	}
	if at := found["vcs.time"]; at != "" {
		text += " of " + at
	}
	return text
}
