package wire

import (
	"os"
	"syscall"
	"time"
)

// Write writes all of b. If there is no room for it in the socket's send buffer, Write
// waits. It fails with a timeout if the wait exceeds the time allowed, or after
// InterruptWrite. After an error, part of b may have been written, and Broken is set.
func (l *Leg) Write(b []byte, allowed time.Duration) error {
	if len(b) == 0 {
		return nil
	}
	l.Prepare()
	var err error
	before := l.Broken
	l.Broken = true // until all of b is written, also if that panics
	if l.raw != nil {
		err = l.writeRaw(b, allowed)
	} else if err = l.Conn.SetWriteDeadline(l.now().Add(allowed)); err == nil {
		if l.writeWoken.Load() { // and the deadline has been undone
			err = os.ErrDeadlineExceeded
		} else {
			_, err = l.Conn.Write(b)
		}
	}
	l.Broken = before || err != nil
	return err
}

// WritePipe writes all octets that p contains. It waits and fails as Write does. The
// leg must be a plain socket.
func (l *Leg) WritePipe(p *SplicePipe, allowed time.Duration) error {
	l.Prepare()
	l.from = p
	err := l.writeRaw(nil, allowed)
	l.from = nil
	l.Broken = l.Broken || err != nil
	return err
}

// Stalled reports whether the last Write or WritePipe may have had to wait for room. It
// returns true for every leg that is no plain socket.
func (l *Leg) Stalled() bool { return l.raw == nil || l.ioState != nil && l.writeArmed }

// writeRaw writes to a plain socket. It sets a deadline only if it has to wait.
func (l *Leg) writeRaw(b []byte, allowed time.Duration) error {
	l.rest, l.allowed, l.writeArmed, l.writeErr = b, allowed, false, nil
	defer func() { l.rest = nil }()
	for {
		err := l.rawWrite()
		if err == nil {
			return l.writeErr
		}
		if l.writeArmed || !IsTimeout(err) {
			return err
		}
		if err := l.armWrite(); err != nil { // it was the deadline of an earlier write
			return err
		}
	}
}

func (l *Leg) armWrite() error {
	if l.writeArmed {
		return nil
	}
	l.writeArmed = true
	if err := l.Conn.SetWriteDeadline(l.now().Add(l.allowed)); err != nil {
		return err
	}
	if l.writeWoken.Load() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// writeFD is called when there may be room. It reports whether it is done; else it is
// called again.
func (l *Leg) writeFD(fd uintptr) bool {
	for len(l.rest) > 0 || l.from != nil && l.from.n > 0 {
		switch err := l.writeSome(fd); err {
		case nil, syscall.EINTR:
		case syscall.EAGAIN:
			l.writeErr = l.armWrite()
			return l.writeErr != nil
		default:
			l.writeErr = os.NewSyscallError("write", err)
			return true
		}
	}
	return true
}

func (l *Leg) writeSome(fd uintptr) error {
	if l.from != nil {
		return l.from.give(fd)
	}
	n, err := writeNow(fd, l.rest)
	l.rest = l.rest[max(n, 0):]
	return err
}

// InterruptWrite makes writes that would wait for room fail with a timeout, until
// ResumeWrite. If the leg is no plain socket, every write fails. Any goroutine may call
// InterruptWrite.
func (l *Leg) InterruptWrite() {
	l.writeWoken.Store(true)
	l.Conn.SetWriteDeadline(longAgo)
}

// ResumeWrite ends the effect of InterruptWrite: writes wait for room again.
func (l *Leg) ResumeWrite() { l.writeWoken.Store(false) }
