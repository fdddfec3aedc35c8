package config

import (
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"
	kernel "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// A Place is a path, and the rights there that the program keeps when it restricts
// itself with Landlock. If the path is a directory, the rights extend to everything
// below it.
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

// Besides returns the places needed to read file and any new version that replaces it:
// its directory and, if file is a symbolic link, the directory of the file that it
// points to.
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
