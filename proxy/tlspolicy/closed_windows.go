package tlspolicy

import "golang.org/x/sys/windows"

// hungUp are the errors of the system that say the peer has closed.
var hungUp = []error{windows.WSAECONNRESET, windows.WSAECONNABORTED, windows.WSAESHUTDOWN}
