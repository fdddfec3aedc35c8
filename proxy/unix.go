package proxy

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
)

// socketPath returns the path in an address such as unix:/run/smtpshim.sock. ok is false if
// the address has another form.
func socketPath(address string) (path string, ok bool) { return strings.CutPrefix(address, "unix:") }

// listenUnix listens on a socket in the file system. It replaces a socket on which nobody
// listens, such as a process that died leaves behind. If path is anything else that exists,
// listenUnix returns an error.
func listenUnix(path string) (net.Listener, error) {
	address := &net.UnixAddr{Name: path, Net: "unix"}
	l, err := net.ListenUnix("unix", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err := removeStale(address); err != nil {
			return nil, err
		}
		l, err = net.ListenUnix("unix", address)
	}
	if err != nil {
		return nil, err // not l: it would not be a nil net.Listener
	}
	return l, nil
}

// removeStale removes a socket on which nobody listens. Anything else is an error.
func removeStale(address *net.UnixAddr) error {
	info, err := os.Lstat(address.Name)
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("listening on %s: it is there already, and no socket", address.Name)
	}
	conn, err := net.DialUnix("unix", nil, address)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("listening on %s: another process does already", address.Name)
	}
	return os.Remove(address.Name)
}
