//go:build !linux

package wire

import "errors"

// A SplicePipe moves octets within the kernel, on Linux only. On this system none can
// be made, and octets are read and written instead.
type SplicePipe struct {
	n int // octets in it
}

// NewSplicePipe returns an error: there are no pipes for splicing on this system.
func NewSplicePipe() (*SplicePipe, error) { return nil, errors.ErrUnsupported }

func (*SplicePipe) Close()                         {}
func (*SplicePipe) take(uintptr, int) (int, error) { return 0, errors.ErrUnsupported }
func (*SplicePipe) give(uintptr) error             { return errors.ErrUnsupported }
