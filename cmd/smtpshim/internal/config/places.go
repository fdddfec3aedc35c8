package config

import (
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"
	kernel "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// A Place is a file, or a directory with everything below it, and what a program that has
// locked itself in may do there.
type Place struct {
	Path string
	May  landlock.AccessFSSet
}

// The rights. Nowhere may links be made, or files be moved between directories.
const (
	Reading   landlock.AccessFSSet = kernel.AccessFSReadFile | kernel.AccessFSReadDir
	Executing landlock.AccessFSSet = Reading | kernel.AccessFSExecute
	writing   landlock.AccessFSSet = Reading | kernel.AccessFSWriteFile | kernel.AccessFSTruncate | kernel.AccessFSMakeReg |
		kernel.AccessFSMakeDir | kernel.AccessFSRemoveFile | kernel.AccessFSRemoveDir
	listening landlock.AccessFSSet = kernel.AccessFSMakeSock | kernel.AccessFSRemoveFile
)

// Besides returns the directory of file, which may be read so that a new version of the
// file is found there. If file is a link, the result includes the directory of the file
// that it points to.
func Besides(file string) []Place {
	places := []Place{{filepath.Dir(file), Reading}}
	if to, err := filepath.EvalSymlinks(file); err == nil && to != file {
		places = append(places, Place{filepath.Dir(to), Reading})
	}
	return places
}

// reach records a directory that the program needs while it runs; "" is ignored.
func (t *table) reach(dir string, may landlock.AccessFSSet) {
	if dir != "" {
		t.places = append(t.places, Place{dir, may})
	}
}
