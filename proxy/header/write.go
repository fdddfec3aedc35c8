package header

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	binaryproto "github.com/pires/go-proxyproto"

	"smtpshim/rewrite/oneof"
)

// A Version is the version of the PROXY header with which connections to servers begin,
// or None.
type Version uint8

const (
	None Version = iota // no header
	V1
	V2
)

var versions = []string{"", "v1", "v2"}

// String returns the name of v that UnmarshalText accepts.
func (v Version) String() string { return versions[v] }

// UnmarshalText sets v to the version named text: "" for None, "v1" or "v2". Any other
// text is an error.
func (v *Version) UnmarshalText(text []byte) error {
	i, err := oneof.Index(string(text), versions)
	*v = Version(i)
	return err
}

// Write writes a PROXY header of version v to conn. The header tells the server that
// the ends of the client's connection are e. If e.Client is zero, the header names no
// client: it is UNKNOWN in version 1 and LOCAL in version 2. If v is None, Write does
// nothing.
//
// Nothing may be written to conn before Write. Write fails if it has not finished at
// the time deadline. After an error conn must not be used.
func Write(conn net.Conn, v Version, e Ends, deadline time.Time) error {
	if v == None {
		return nil
	}
	header, err := e.format(v)
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

// format returns the PROXY header for these ends. If the client is not known, it is
// UNKNOWN or LOCAL.
func (e Ends) format(v Version) ([]byte, error) {
	if !e.Client.IsValid() {
		return binaryproto.HeaderProxyFromAddrs(byte(v), nil, nil).Format()
	}
	if !e.Destination.IsValid() {
		nowhere := netip.IPv4Unspecified()
		if e.Client.Addr().Is6() {
			nowhere = netip.IPv6Unspecified()
		}
		e.Destination = netip.AddrPortFrom(nowhere, 0)
	}
	return binaryproto.HeaderProxyFromAddrs(byte(v), net.TCPAddrFromAddrPort(e.Client), net.TCPAddrFromAddrPort(e.Destination)).Format()
}
