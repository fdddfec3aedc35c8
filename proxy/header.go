package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	proxyproto "github.com/armon/go-proxyproto"

	"smtpshim/rewrite"
)

// maxHeader is the longest PROXY header of version 1, with its CRLF (PROXY
// protocol specification, 2.1).
const maxHeader = 107

var errHeader = errors.New("not a PROXY header")

// ends are those of a client's connection, as the client has them.
type ends struct {
	client      netip.AddrPort // zero: not known
	destination netip.AddrPort // where the client connected to; zero: not known
}

func endsOf(conn net.Conn) ends { return ends{remoteOf(conn), localOf(conn)} }

// tellsDestination says whether servers may be told where a client connected to.
func (r *Route) tellsDestination() bool {
	return r.ProxySend != ProxyNone || r.XCLIENTSend != rewrite.XCLIENTNever
}

// readHeader takes the PROXY header that a connection has to begin with, of
// either version, and gives the ends that it tells of: none if it says that the
// balancer does not know them, or that the connection is the balancer's own. Not
// one octet behind the header is read, and the timeout is for all of it.
func readHeader(conn net.Conn, timeout time.Duration) (ends, error) {
	conn.SetReadDeadline(time.Now().Add(timeout))
	first := make([]byte, 1, maxHeader)
	if _, err := io.ReadFull(conn, first); err != nil {
		return ends{}, fmt.Errorf("reading the PROXY header: %w", err)
	}
	if first[0] == signature[0] {
		return readBinaryHeader(conn, first)
	}
	return readTextHeader(conn, first)
}

// readTextHeader reads a header of version 1 from its second octet on.
//
// go-proxyproto (armon) takes connections without a header, headers of any
// length, LF alone and ports that are none; so what it gets to parse has been
// read and checked here before.
func readTextHeader(conn net.Conn, line []byte) (ends, error) {
	header, err := readHeaderLine(conn, line)
	if err != nil {
		return ends{}, err
	}
	if header == "PROXY UNKNOWN" || strings.HasPrefix(header, "PROXY UNKNOWN ") {
		return ends{}, nil
	}
	if err := checkHeader(header); err != nil {
		return ends{}, err
	}
	said := endsOf(proxyproto.NewConn(&replayed{Conn: conn, rest: bytes.NewReader([]byte(header + "\r\n"))}, 0))
	if !said.client.IsValid() {
		return ends{}, fmt.Errorf("%w: %q", errHeader, header)
	}
	return said, nil
}

// readHeaderLine reads octet by octet, so that what follows stays unread.
func readHeaderLine(conn net.Conn, line []byte) (string, error) {
	const prefix = "PROXY "
	for {
		if last := len(line) - 1; last < len(prefix) && line[last] != prefix[last] {
			return "", fmt.Errorf("%w: begins with %q", errHeader, line)
		}
		end := bytes.IndexAny(line, "\r\n")
		if end >= 0 && end == len(line)-2 && bytes.HasSuffix(line, []byte("\r\n")) {
			return string(line[:end]), nil
		}
		if end >= 0 && (end < len(line)-1 || line[end] == '\n') {
			return "", fmt.Errorf("%w: %q ends without CRLF", errHeader, line)
		}
		if len(line) == maxHeader {
			return "", fmt.Errorf("%w: %q has no end within %d octets", errHeader, line, maxHeader)
		}
		n, err := conn.Read(line[len(line) : len(line)+1])
		if err != nil {
			return "", fmt.Errorf("reading the PROXY header after %q: %w", line, err)
		}
		line = line[:len(line)+n]
	}
}

// checkHeader holds a header to the letter: PROXY, TCP4 or TCP6, two addresses
// of that family, two ports, one blank between each.
func checkHeader(header string) error {
	fields := strings.Split(header, " ")
	if len(fields) != 6 || fields[1] != "TCP4" && fields[1] != "TCP6" {
		return fmt.Errorf("%w: %q; wanted PROXY TCP4|TCP6 and two addresses and two ports, or PROXY UNKNOWN", errHeader, header)
	}
	for _, field := range fields[2:4] {
		a, err := netip.ParseAddr(field)
		if err != nil || a.Zone() != "" || a.Is4() != (fields[1] == "TCP4") {
			return fmt.Errorf("%w: %q is no %s address", errHeader, field, fields[1])
		}
	}
	for _, field := range fields[4:] {
		port, err := strconv.ParseUint(field, 10, 16)
		if err != nil || strconv.FormatUint(port, 10) != field {
			return fmt.Errorf("%w: %q is no port", errHeader, field)
		}
	}
	return nil
}

// replayed is a connection whose first octets have been read already.
type replayed struct {
	net.Conn
	rest *bytes.Reader
}

func (r *replayed) Read(b []byte) (int, error) { return r.rest.Read(b) }

// SetReadDeadline does nothing: go-proxyproto would take ours away.
func (r *replayed) SetReadDeadline(time.Time) error { return nil }

// An addressed connection has its addresses in the form that is wanted.
type addressed interface {
	remoteAddrPort() netip.AddrPort
	localAddrPort() netip.AddrPort
}

func remoteOf(conn net.Conn) netip.AddrPort {
	if a, ok := conn.(addressed); ok {
		return a.remoteAddrPort()
	}
	return addrPort(conn.RemoteAddr())
}

func localOf(conn net.Conn) netip.AddrPort {
	if a, ok := conn.(addressed); ok {
		return a.localAddrPort()
	}
	return addrPort(conn.LocalAddr())
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp != nil {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// covers says whether one of the networks holds the address.
func covers(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
