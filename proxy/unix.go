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

// socketPath is the path in an address such as unix:/run/smtpshim.sock.
func socketPath(address string) (path string, ok bool) { return strings.CutPrefix(address, "unix:") }

// listenUnix makes a socket in the file system. One that nobody listens on any
// more, left behind by a process that has died, is replaced; anything else that
// has the path is an error.
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
		return nil, err // l is no nil net.Listener
	}
	return l, nil
}

// removeStale removes a socket that nobody listens on.
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
