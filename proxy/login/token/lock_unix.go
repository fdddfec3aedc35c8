//go:build unix && !aix && !solaris

package token

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// tryLock locks a file if no other process has, and reports whether it did. The lock ends
// when the file is closed, and so at the end of the process.
func tryLock(f *os.File) (bool, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
		return false, nil
	}
	return err == nil, err
}

// likeDirectory gives a file to the owner of its directory, if we are root, so that the
// service can read it. Whoever runs "smtpshim login" may be root.
func likeDirectory(f *os.File, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}

// othersRead reports whether users other than a file's owner can read it.
func othersRead(info os.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }

// syncDirectory makes changes of names in a directory durable.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		err = nil // not supported by the file system
	}
	return errors.Join(err, d.Close())
}
