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
	remoteAddrPort() netip.AddrPort
	localAddrPort() netip.AddrPort
}

func remoteOf(conn net.Conn) netip.AddrPort {
	if a, ok := conn.(addressed); ok {
		return a.remoteAddrPort()
	}
	return header.AddrPort(conn.RemoteAddr())
}

func localOf(conn net.Conn) netip.AddrPort {
	if a, ok := conn.(addressed); ok {
		return a.localAddrPort()
	}
	return header.AddrPort(conn.LocalAddr())
}
