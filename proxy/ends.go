package proxy

import (
	"net"
	"net/netip"

	"smtpshim/proxy/header"
	"smtpshim/rewrite"
)

// tellsDestination reports whether servers may be told the address that the client
// connected to.
func (r *Route) tellsDestination() bool {
	return r.ProxySend != header.None || r.XCLIENTSend != rewrite.XCLIENTNever
}

// An addressed is a connection that has its addresses as netip.AddrPort.
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
