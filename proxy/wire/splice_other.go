//go:build !linux

package wire

import "errors"

// A SplicePipe moves octets within the kernel on Linux. Here there is none, and octets go
// through memory.
type SplicePipe struct {
	n int // octets in it
}

// NewSplicePipe returns an error: there are no pipes for splicing on this system.
func NewSplicePipe() (*SplicePipe, error) { return nil, errors.ErrUnsupported }

func (*SplicePipe) Close()                         {}
func (*SplicePipe) take(uintptr, int) (int, error) { return 0, errors.ErrUnsupported }
func (*SplicePipe) give(uintptr) error             { return errors.ErrUnsupported }
