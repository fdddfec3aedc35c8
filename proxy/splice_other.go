//go:build !linux

package proxy

import "errors"

// A conduit moves octets within the kernel on Linux. Here there is none to be had,
// and they go through memory.
type conduit struct {
	n int // octets in it
}

func newConduit() (*conduit, error) { return nil, errors.ErrUnsupported }

func (*conduit) close()                         {}
func (*conduit) take(uintptr, int) (int, error) { return 0, errors.ErrUnsupported }
func (*conduit) give(uintptr) error             { return errors.ErrUnsupported }
