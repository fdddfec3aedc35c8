// Package header reads and writes the headers of the PROXY protocol, versions 1 and 2, in
// which a load balancer says whose connection it passes on.
package header

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
)

// maxHeader is the length of the longest PROXY header of version 1, with its CRLF (PROXY
// protocol specification, 2.1).
const maxHeader = 107

// ErrNothing says that the connection failed, ended or timed out before the first octet
// of a PROXY header.
var ErrNothing = errors.New("reading the PROXY header")

var errHeader = errors.New("not a PROXY header")

// Ends are the two ends of the connection that a client has made: to us, or to a load
// balancer that passes it on to us.
type Ends struct {
	Client      netip.AddrPort // the client's own address; zero: not known
	Destination netip.AddrPort // the address to which the client connected; zero: not known
}

// Read reads the PROXY header, of version 1 or 2, with which conn must begin. It
// returns the ends of the client's connection that the header names. The ends are zero
// if the header names none, because the balancer does not know them or connects for
// itself. Read consumes no octet after the header. The error wraps ErrNothing if no
// octet came.
//
// The whole header must come before deadline, which stays the read deadline of conn.
func Read(conn net.Conn, deadline time.Time) (Ends, error) {
	conn.SetReadDeadline(deadline)
	first := make([]byte, 1, maxHeader)
	if _, err := io.ReadFull(conn, first); err != nil {
		return Ends{}, fmt.Errorf("%w: %w", ErrNothing, err)
	}
	if first[0] == Signature[0] {
		return readBinaryHeader(conn, first)
	}
	return readTextHeader(conn, first)
}

// readTextHeader reads a header of version 1 from its second octet on.
//
// go-proxyproto (armon) accepts connections without a header, headers of any length, LF
// alone and invalid ports. Therefore it only parses what was read and checked here.
func readTextHeader(conn net.Conn, line []byte) (Ends, error) {
	header, err := readHeaderLine(conn, line)
	if err != nil {
		return Ends{}, err
	}
	if header == "PROXY UNKNOWN" || strings.HasPrefix(header, "PROXY UNKNOWN ") {
		return Ends{}, nil
	}
	if err := checkHeader(header); err != nil {
		return Ends{}, err
	}
	parsed := proxyproto.NewConn(&replayed{Conn: conn, rest: bytes.NewReader([]byte(header + "\r\n"))}, 0)
	said := Ends{AddrPort(parsed.RemoteAddr()), AddrPort(parsed.LocalAddr())}
	if !said.Client.IsValid() {
		return Ends{}, fmt.Errorf("%w: %q", errHeader, header)
	}
	return said, nil
}

// readHeaderLine reads octet by octet, so that it consumes nothing after the line.
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

// checkHeader checks that a header is exactly PROXY, TCP4 or TCP6, two addresses of that
// family and two ports, separated by one blank each.
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

// A replayed is a connection whose first octets have already been read.
type replayed struct {
	net.Conn
	rest *bytes.Reader
}

func (r *replayed) Read(b []byte) (int, error) { return r.rest.Read(b) }

// SetReadDeadline does nothing. go-proxyproto calls it to remove the deadline of the
// connection, but the deadline of Read must stay.
func (r *replayed) SetReadDeadline(time.Time) error { return nil }

// AddrPort returns the address and port of a, one end of a TCP connection, with an
// IPv4-mapped address as IPv4. The result is zero if a is no *net.TCPAddr, such as the
// address of a Unix domain socket.
func AddrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp != nil {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
