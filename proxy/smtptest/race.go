package smtptest

import (
	"runtime/debug"
	"slices"
)

// RaceDetected reports whether the program was built with the race detector, which makes
// everything slower and needs more memory.
func RaceDetected() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
