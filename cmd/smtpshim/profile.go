//go:build profile

package main

import (
	"os"
	"runtime/pprof"
	"time"
)

// init makes a program built with the tag profile write a CPU profile to the file
// SMTPSHIM_PROFILE, a minute after its start. deploy/bench/profile makes default.pgo from
// it, which tells the compiler what to optimize.
func init() {
	path := os.Getenv("SMTPSHIM_PROFILE")
	if path == "" || len(os.Args) < 2 || os.Args[1] == "version" {
		return
	}
	file, err := os.Create(path)
	if err == nil {
		err = pprof.StartCPUProfile(file)
	}
	if err != nil {
		panic(err)
	}
	time.AfterFunc(time.Minute, func() {
		pprof.StopCPUProfile()
		if err := file.Close(); err != nil {
			panic(err)
		}
	})
}
