//go:build !linux

package proxy

// writing is nothing where TCPConn writes.
type writing struct{}

// readWaiting reads as TCPConn does.
func (w *wire) readWaiting(b []byte) (int, error) { return w.TCPConn.Read(b) }
