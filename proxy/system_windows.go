package proxy

import "golang.org/x/sys/windows"

// acceptsConnections reports whether a socket is a listening socket.
func acceptsConnections(fd int) (bool, error) {
	const acceptConn = 2 // SO_ACCEPTCONN
	n, err := windows.GetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, acceptConn)
	return n != 0, err
}

// shortages are the errors of a dial for which a shortage on this machine is the cause, and
// not the server.
var shortages = []error{windows.WSAEMFILE, windows.WSAENOBUFS, windows.WSAEADDRNOTAVAIL}
