package wire

import (
	"os"
	"syscall"
	"time"
)

// write sends all of b, at most for so long after it first has to wait.
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
	} else if err = l.Conn.SetWriteDeadline(time.Now().Add(allowed)); err == nil {
		if l.writeWoken.Load() { // and the deadline has been undone
			err = os.ErrDeadlineExceeded
		} else {
			_, err = l.Conn.Write(b)
		}
	}
	l.Broken = before || err != nil
	return err
}

// writeConduit is write for what is in a pipe, to a leg that is a plain socket.
func (l *Leg) WritePipe(p *SplicePipe, allowed time.Duration) error {
	l.Prepare()
	l.from = p
	err := l.writeRaw(nil, allowed)
	l.from = nil
	l.Broken = l.Broken || err != nil
	return err
}

// stalled says whether the last write had to wait, as far as that is known.
func (l *Leg) Stalled() bool { return l.raw == nil || l.hands != nil && l.writeArmed }

// writeRaw sets the deadline only if it has to wait.
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
	if err := l.Conn.SetWriteDeadline(time.Now().Add(l.allowed)); err != nil {
		return err
	}
	if l.writeWoken.Load() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// writeFD is called when there may be room. It says whether it is done, rather
// than to be called again.
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

// interruptWrite ends the writes that have to wait, from another goroutine,
// until resumeWrite.
func (l *Leg) InterruptWrite() {
	l.writeWoken.Store(true)
	l.Conn.SetWriteDeadline(longAgo)
}

func (l *Leg) ResumeWrite() { l.writeWoken.Store(false) }
