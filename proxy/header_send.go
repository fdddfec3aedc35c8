package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	binaryproto "github.com/pires/go-proxyproto"
)

// A ProxyVersion is that of the PROXY header which connections to servers begin
// with.
type ProxyVersion uint8

const (
	ProxyNone ProxyVersion = iota // no header
	ProxyV1
	ProxyV2
)

var proxyVersions = []string{"", "v1", "v2"}

func (v ProxyVersion) String() string { return proxyVersions[v] }

// UnmarshalText accepts "", "v1" and "v2".
func (v *ProxyVersion) UnmarshalText(text []byte) error {
	i := slices.Index(proxyVersions, string(text))
	if i < 0 {
		return fmt.Errorf("%q is not one of \"\", \"v1\", \"v2\"", text)
	}
	*v = ProxyVersion(i)
	return nil
}

// announce says to a server, before anything else, whose connection this is; no
// ends: our own. After an error the connection is of no more use.
func (r *Route) announce(conn net.Conn, e ends, deadline time.Time) error {
	if r.ProxySend == ProxyNone {
		return nil
	}
	header, err := e.header(r.ProxySend)
	if err == nil {
		conn.SetWriteDeadline(deadline)
		_, err = conn.Write(header)
		conn.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		return fmt.Errorf("writing the PROXY header: %w", err)
	}
	return nil
}

// header is the PROXY header that tells of these ends: UNKNOWN, or LOCAL, if the
// client's is not known.
func (e ends) header(v ProxyVersion) ([]byte, error) {
	if !e.client.IsValid() {
		return binaryproto.HeaderProxyFromAddrs(byte(v), nil, nil).Format()
	}
	if !e.destination.IsValid() {
		nowhere := netip.IPv4Unspecified()
		if e.client.Addr().Is6() {
			nowhere = netip.IPv6Unspecified()
		}
		e.destination = netip.AddrPortFrom(nowhere, 0)
	}
	return binaryproto.HeaderProxyFromAddrs(byte(v), net.TCPAddrFromAddrPort(e.client), net.TCPAddrFromAddrPort(e.destination)).Format()
}
