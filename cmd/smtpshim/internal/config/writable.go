package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// A stateDir is the directory that the key state_dir names.
type stateDir struct {
	path     string // "": the file names none
	table    *table // the table with the key
	reported bool
}

// try reports if the present user may not write to the directory, or cannot make it. A
// shortage, such as a full disk, is no mistake of the configuration.
func (s *stateDir) try() {
	if s.path == "" {
		return // who needs it reports that it is missing
	}
	err := TryWriting(s.path)
	for _, mistake := range []error{fs.ErrPermission, fs.ErrNotExist, syscall.ENOTDIR, syscall.EROFS} {
		if errors.Is(err, mistake) {
			s.wrong(err)
			return
		}
	}
}

// wrong reports that the directory, or what is in it, cannot be used. It does so only
// once: all routes and accounts use it, and are likely to have the same reason.
func (s *stateDir) wrong(err error) {
	if !s.reported {
		s.table.wrongTarget("state_dir", s.path, "750", err)
	}
	s.reported = true
}

// TryWriting returns an error if the present user cannot write to the directory dir, or
// cannot make it if it does not exist. It makes a file in dir, or in the nearest
// directory above that exists, and removes it.
func TryWriting(dir string) error {
	at := fullPath(dir)
	for {
		info, err := os.Stat(at)
		switch {
		case err == nil && !info.IsDir():
			return &fs.PathError{Op: "writing to", Path: at, Err: syscall.ENOTDIR}
		case err == nil:
			f, err := os.CreateTemp(at, ".smtpshim-*")
			if err == nil {
				return errors.Join(f.Close(), os.Remove(f.Name()))
			}
			return &fs.PathError{Op: "writing to", Path: at, Err: cause(err)}
		case !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at):
			return &fs.PathError{Op: "looking into", Path: filepath.Dir(at), Err: cause(err)}
		}
		at = filepath.Dir(at)
	}
}

// wrongTarget reports that the directory dir, which key names, cannot be written to. mode
// is the mode, such as "750", with which it is to be made.
func (t *table) wrongTarget(key, dir, mode string, err error) {
	dir = fullPath(dir)
	at, ok := errors.AsType[*fs.PathError](err)
	if !ok {
		t.wrong(key, "%v", err)
		return
	}
	err = &fs.PathError{Op: at.Op, Path: fullPath(at.Path), Err: at.Err}
	text := fmt.Sprintf("%s cannot write to %s (%v)", presentUser(), dir, err)
	_, stat := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		text = fmt.Sprintf("there is no directory %s", dir) + asRoot("makes it for the service", "install", "-d", "-o", service, "-g", service, "-m", mode, dir)
	case errors.Is(err, syscall.EROFS):
		text += "; under systemd, a service can write to the directories that StateDirectory= and ReadWritePaths= name"
	case errors.Is(err, syscall.ENOTDIR):
		text += "; name a directory"
	case errors.Is(err, fs.ErrPermission) && errors.Is(stat, fs.ErrPermission):
		text += "; name a directory that it can reach, such as /var/lib/smtpshim"
	case errors.Is(err, fs.ErrPermission) && stat == nil:
		text += asRoot("gives it to the service", "chown", "-R", service+":"+service, dir)
	case errors.Is(err, fs.ErrPermission):
		text += asRoot("makes it for the service", "install", "-d", "-o", service, "-g", service, "-m", mode, dir)
	}
	t.wrong(key, "%s", text)
	t.mistakes[len(t.mistakes)-1].cause = err
}

// cause returns the error of the file system without an operation and a path.
func cause(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}
