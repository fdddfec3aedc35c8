package proxy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// inherit returns listeners on sockets that were handed to us. The files stay open, so
// that a route that is removed and added again can listen on them again.
func inherit(files []*os.File) (sockets []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range sockets {
				l.Close()
			}
		}
	}()
	for _, file := range files {
		if !listening(file) {
			return sockets, errors.New("it is no listening stream socket; ListenStream= and Accept=no make one")
		}
		l, err := net.FileListener(file)
		if err != nil {
			return sockets, err
		}
		sockets = append(sockets, l)
	}
	return sockets, nil
}

// listening reports whether a file is a socket that accepts connections.
func listening(file *os.File) bool {
	raw, err := file.SyscallConn()
	if err != nil {
		return false
	}
	accepts := false
	err = control(raw, func(fd int) error {
		accepts, err = acceptsConnections(fd)
		return err
	})
	return err == nil && accepts
}

// beTransparent makes the sockets of a listener transparent. They stay transparent even if
// the route no longer asks for it: this does no harm, and whoever handed us the sockets
// may have made them transparent.
func (l *listener) beTransparent() error {
	for _, socket := range l.Sockets {
		tcp, ok := socket.(syscall.Conn)
		if _, isTCP := socket.Addr().(*net.TCPAddr); !ok || !isTCP {
			return fmt.Errorf("%v cannot be transparent: it is no TCP address", socket.Addr())
		}
		raw, err := tcp.SyscallConn()
		if err != nil {
			return err
		}
		if err := control(raw, acceptTransparently); err != nil {
			return fmt.Errorf("listening on %v: %w", socket.Addr(), err)
		}
	}
	return nil
}
