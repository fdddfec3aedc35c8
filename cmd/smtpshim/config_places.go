package main

import (
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"
	kernel "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// A place is a file, or a directory with everything below it, and what a program that has
// locked itself in may do there.
type place struct {
	path string
	may  landlock.AccessFSSet
}

// The rights. Nowhere may links be made, or files be moved between directories.
const (
	reading   landlock.AccessFSSet = kernel.AccessFSReadFile | kernel.AccessFSReadDir
	executing landlock.AccessFSSet = reading | kernel.AccessFSExecute
	writing   landlock.AccessFSSet = reading | kernel.AccessFSWriteFile | kernel.AccessFSTruncate | kernel.AccessFSMakeReg |
		kernel.AccessFSMakeDir | kernel.AccessFSRemoveFile | kernel.AccessFSRemoveDir
	listening landlock.AccessFSSet = kernel.AccessFSMakeSock | kernel.AccessFSRemoveFile
)

// besides returns the directory of a file, in which its successor will appear. If the
// file is a link, the result includes the directory that it points to.
func besides(file string) []place {
	places := []place{{filepath.Dir(file), reading}}
	if to, err := filepath.EvalSymlinks(file); err == nil && to != file {
		places = append(places, place{filepath.Dir(to), reading})
	}
	return places
}

// reach records a directory that the program needs while it runs; "" is ignored.
func (t *table) reach(dir string, may landlock.AccessFSSet) {
	if dir != "" {
		t.places = append(t.places, place{dir, may})
	}
}
