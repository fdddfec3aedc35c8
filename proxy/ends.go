package proxy

import (
	"net"
	"net/netip"

	"smtpshim/proxy/header"
	"smtpshim/rewrite"
)

// tellsDestination says whether servers may be told where a client connected to.
func (r *Route) tellsDestination() bool {
	return r.ProxySend != header.None || r.XCLIENTSend != rewrite.XCLIENTNever
}

// An addressed connection has its addresses in the form that is wanted.
type addressed interface {
	RemoteAddrPort() netip.AddrPort
	LocalAddrPort() netip.AddrPort
}

func remoteOf(conn net.Conn) netip.AddrPort {
	if a, ok := conn.(addressed); ok {
		return a.RemoteAddrPort()
	}
	return header.AddrPort(conn.RemoteAddr())
}

func localOf(conn net.Conn) netip.AddrPort {
	if a, ok := conn.(addressed); ok {
		return a.LocalAddrPort()
	}
	return header.AddrPort(conn.LocalAddr())
}
