package tlspolicy

import "golang.org/x/sys/windows"

// hungUp are the system errors that mean that the peer has closed the connection.
var hungUp = []error{windows.WSAECONNRESET, windows.WSAECONNABORTED, windows.WSAESHUTDOWN}
