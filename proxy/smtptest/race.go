package smtptest

import (
	"runtime/debug"
	"slices"
)

// RaceDetected reports whether the program was built with the race detector (-race),
// which makes the program slower and lets it need more memory.
func RaceDetected() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
