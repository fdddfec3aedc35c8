//go:build !linux

package wire

// partWritten is nothing where TCPConn writes.
type partWritten struct{}

// readWaiting reads as TCPConn does.
func (w *carrier) readWaiting(b []byte) (int, error) { return w.plain.Read(b) }
