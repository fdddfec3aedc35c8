package proxy

import "golang.org/x/sys/windows"

// acceptsConnections says whether a socket listens.
func acceptsConnections(fd int) (bool, error) {
	const acceptConn = 2 // SO_ACCEPTCONN
	n, err := windows.GetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, acceptConn)
	return n != 0, err
}

// shortages are the errors of a dial that say what this machine has run out of.
var shortages = []error{windows.WSAEMFILE, windows.WSAENOBUFS, windows.WSAEADDRNOTAVAIL}
