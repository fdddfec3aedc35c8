//go:build profile

package main

import (
	"os"
	"runtime/pprof"
	"time"
)

// init has a program that is built with the tag profile say where it spends its time, in
// the file SMTPSHIM_PROFILE, a minute after its start. deploy/bench/profile makes
// default.pgo of that, by which the compiler knows what is worth its room.
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
