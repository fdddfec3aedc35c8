package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"

	binaryproto "github.com/pires/go-proxyproto"

	"smtpshim/rewrite/vocabulary"
)

// signature is what a PROXY header of version 2 begins with (PROXY protocol
// specification, 2.2). To a server that knows no headers it is four lines.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

const (
	fixedHeader = len(signature) + 4 // before the addresses: signature, command, family, length

	// maxBinaryHeader is the longest header of version 2 that is read: the
	// addresses take at most 36 octets, and what else balancers tell, such as a
	// client's certificate, is at most some KiB.
	maxBinaryHeader = 4 << 10
)

// Octets of the fixed part.
const (
	commandLocal = 0x20 // version 2, and the connection is the balancer's own
	commandProxy = 0x21
	familyNone   = 0x00
	familyTCP4   = 0x11
	familyTCP6   = 0x21
	familyUnix   = 0x31

	typeCRC32C = 0x03 // of a value behind the addresses
)

// readBinaryHeader reads a header of version 2 from its second octet on.
func readBinaryHeader(conn net.Conn, header []byte) (ends, error) {
	for len(header) < len(signature) { // octet by octet: who says something else is not waited for
		n, err := conn.Read(header[len(header) : len(header)+1])
		if err != nil {
			return ends{}, fmt.Errorf("reading the PROXY header after %q: %w", header, err)
		}
		if header = header[:len(header)+n]; header[len(header)-1] != signature[len(header)-1] {
			return ends{}, fmt.Errorf("%w: begins with %q", errHeader, header)
		}
	}
	header = header[:fixedHeader]
	if _, err := io.ReadFull(conn, header[len(signature):]); err != nil {
		return ends{}, fmt.Errorf("reading the PROXY header: %w", err)
	}
	command, family := header[len(signature)], header[len(signature)+1]
	if command != commandLocal && command != commandProxy {
		return ends{}, fmt.Errorf("%w: version and command %#02x; wanted 0x20 or 0x21", errHeader, command)
	}
	length := fixedHeader + int(binary.BigEndian.Uint16(header[fixedHeader-2:]))
	if length > maxBinaryHeader {
		return ends{}, fmt.Errorf("%w: %d octets; wanted at most %d", errHeader, length, maxBinaryHeader)
	}
	header = append(header, make([]byte, length-fixedHeader)...)
	if _, err := io.ReadFull(conn, header[fixedHeader:]); err != nil {
		return ends{}, fmt.Errorf("reading the PROXY header: %w", err)
	}
	if command == commandLocal {
		return ends{}, nil // and whatever is behind that is to be ignored
	}
	return parseBinaryHeader(header, family)
}

// parseBinaryHeader gives the ends that a whole header with the command PROXY
// tells of. The receiver is free to take one of no family, as it has to with
// version 1's UNKNOWN; a client on a Unix socket has no address either.
func parseBinaryHeader(header []byte, family byte) (ends, error) {
	addresses := map[byte]int{familyNone: 0, familyTCP4: 12, familyTCP6: 36, familyUnix: 216}
	octets, known := addresses[family]
	if !known {
		return ends{}, fmt.Errorf("%w: family and protocol %#02x; wanted TCP", errHeader, family)
	}
	if len(header) < fixedHeader+octets {
		return ends{}, fmt.Errorf("%w: %d octets are too few for its addresses", errHeader, len(header))
	}
	if err := checkValues(header, fixedHeader+octets); err != nil {
		return ends{}, err
	}
	if family == familyNone || family == familyUnix {
		return ends{}, nil
	}
	parsed, err := binaryproto.Read(bufio.NewReaderSize(bytes.NewReader(header), len(header)))
	if err != nil {
		return ends{}, fmt.Errorf("%w: %w", errHeader, err)
	}
	return ends{addrPort(parsed.SourceAddr), addrPort(parsed.DestinationAddr)}, nil
}

// checkValues goes through the values behind the addresses, each a type, a length
// and so many octets. None means anything to us but the checksum of the whole
// header, which is made with its own place at zero (2.2.5).
func checkValues(header []byte, from int) error {
	for rest := header[from:]; len(rest) > 0; {
		if len(rest) < 3 || len(rest)-3 < int(binary.BigEndian.Uint16(rest[1:])) {
			return fmt.Errorf("%w: the last of its values is cut off", errHeader)
		}
		kind, value := rest[0], rest[3:3+int(binary.BigEndian.Uint16(rest[1:]))]
		rest = rest[3+len(value):]
		if kind != typeCRC32C {
			continue
		}
		if len(value) != crc32.Size {
			return fmt.Errorf("%w: a checksum of %d octets; wanted %d", errHeader, len(value), crc32.Size)
		}
		want := binary.BigEndian.Uint32(value)
		clear(value)
		if got := crc32.Checksum(header, crc32.MakeTable(crc32.Castagnoli)); got != want {
			return fmt.Errorf("%w: its checksum is %08x, and it says %08x", errHeader, got, want)
		}
		binary.BigEndian.PutUint32(value, want)
	}
	return nil
}

var errPretends = errors.New("the client begins with a PROXY header, and none is taken from it")

// pretends says whether the client has begun with a header of version 2, which
// is not taken from it. One of version 1 is a command, and refused as such.
func (s *session) pretends(line []byte) bool {
	if s.claimed < 0 {
		return false
	}
	rest := []byte(signature[s.claimed:])
	switch {
	case bytes.HasPrefix(s.client.buffered(), rest):
		return true
	case bytes.HasPrefix(rest, line):
		s.claimed += int32(len(line))
	default:
		s.claimed = -1
	}
	return false
}

// namesHeader adds to why a server did not greet that it may wait for the PROXY header
// with which the client has begun, and how that would pass.
func (s *session) namesHeader(err error) error {
	if first := string(s.client.peek(longAgo)); first != "PRO" && first != signature[:3] {
		return err
	}
	return fmt.Errorf("%w; the client begins as with a PROXY header, which proxy_protocol.accept_from would take, and proxy_protocol.send give the server", err)
}

// unmask ends the session of a client that pretends.
func (s *session) unmask() error {
	if s.route.Observer != nil {
		s.route.Observer.Refused(vocabulary.RejectionPROXYHeader)
	}
	s.dialogue.Finish("421 4.7.0 no PROXY header is taken from here")
	s.flushClient()
	return s.over(vocabulary.OutcomeClientProtocol, errPretends)
}
