package token

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock locks a file that no other process has locked, and reports whether it
// has. The lock ends when the file is closed, as it is by the end of the process.
func tryLock(f *os.File) (bool, error) {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// likeDirectory does nothing: files inherit the directory's access control list.
func likeDirectory(*os.File, string) error { return nil }

// othersRead is false: the mode does not tell who can read a file.
func othersRead(os.FileInfo) bool { return false }

// syncDirectory does nothing: Windows keeps no directory open for writing.
func syncDirectory(string) error { return nil }
