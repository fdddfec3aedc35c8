//go:build !windows && (!unix || aix || solaris)

package token

import (
	"errors"
	"os"
)

// tryLock fails: this system has no lock that ends with the process.
func tryLock(*os.File) (bool, error) { return false, errors.ErrUnsupported }

func likeDirectory(*os.File, string) error { return nil }

func othersRead(os.FileInfo) bool { return false }

func syncDirectory(string) error { return nil }
