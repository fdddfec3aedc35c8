package token

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock locks a file if no other process has, and reports whether it did. The lock ends
// when the file is closed, and so at the end of the process.
func tryLock(f *os.File) (bool, error) {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// likeDirectory does nothing, because a file inherits the access control list of its
// directory.
func likeDirectory(*os.File, string) error { return nil }

// othersRead returns false, because the mode does not show who can read a file.
func othersRead(os.FileInfo) bool { return false }

// syncDirectory does nothing, because Windows cannot open a directory for writing.
func syncDirectory(string) error { return nil }
