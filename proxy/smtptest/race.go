package smtptest

import (
	"runtime/debug"
	"slices"
)

// RaceDetected says whether the program was built with the race detector, which makes
// all slower and keeps a record of memory in memory.
func RaceDetected() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
