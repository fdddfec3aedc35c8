package wire

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A SplicePipe moves octets from one plain socket to another within the kernel
// (splice(2)), by Leg.Divert and Leg.WritePipe. That costs less than reading and
// writing them. It is for octets that nobody looks at.
type SplicePipe struct {
	r, w int
	n    int // octets in it
}

// NewSplicePipe returns an empty pipe. The caller closes it.
func NewSplicePipe() (*SplicePipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, SplicePipeSize) // a smaller one serves too
	return &SplicePipe{r: fds[0], w: fds[1]}, nil
}

// Close closes the pipe. The octets in it are lost.
func (c *SplicePipe) Close() {
	unix.Close(c.r)
	unix.Close(c.w)
}

// take moves octets that a connection has received into the pipe, at most so many, without
// waiting.
func (c *SplicePipe) take(fd uintptr, most int) (int, error) {
	n, err := unix.Splice(int(fd), nil, c.w, nil, most, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	for err == unix.EINTR {
		n, err = unix.Splice(int(fd), nil, c.w, nil, most, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	}
	switch {
	case err == unix.EAGAIN:
		return 0, errNothing
	case err != nil:
		return 0, os.NewSyscallError("splice", err)
	case n == 0:
		return 0, io.EOF
	}
	c.n += int(n)
	return int(n), nil
}

// give moves octets out of the pipe to a connection, without waiting.
func (c *SplicePipe) give(fd uintptr) error {
	n, err := unix.Splice(c.r, nil, int(fd), nil, c.n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	if err == nil {
		c.n -= int(n)
	}
	return err
}
