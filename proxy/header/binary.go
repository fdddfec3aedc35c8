package header

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"

	binaryproto "github.com/pires/go-proxyproto"
)

// Signature is the beginning of every PROXY header of version 2 (PROXY protocol
// specification, 2.2). An SMTP server that does not know the protocol reads it as four
// lines, the last of which is QUIT.
const Signature = "\r\n\r\n\x00\r\nQUIT\n"

const (
	fixedHeader = len(Signature) + 4 // octets before the addresses: Signature, command, family, length

	// maxBinaryHeader is the length of the longest header of version 2 that is accepted.
	// The addresses need at most 36 octets, and other values, such as a client's
	// certificate, a few KiB.
	maxBinaryHeader = 4 << 10
)

// Octets of the fixed part, and a type of the values after the addresses.
const (
	commandLocal = 0x20 // version 2; the connection is the balancer's own
	commandProxy = 0x21
	familyNone   = 0x00
	familyTCP4   = 0x11
	familyTCP6   = 0x21
	familyUnix   = 0x31

	typeCRC32C = 0x03 // the type of a checksum
)

// readBinaryHeader reads a header of version 2 from its second octet on.
func readBinaryHeader(conn net.Conn, header []byte) (Ends, error) {
	for len(header) < len(Signature) { // octet by octet, to fail at once if it is not a header
		n, err := conn.Read(header[len(header) : len(header)+1])
		if err != nil {
			return Ends{}, fmt.Errorf("reading the PROXY header after %q: %w", header, err)
		}
		if header = header[:len(header)+n]; header[len(header)-1] != Signature[len(header)-1] {
			return Ends{}, fmt.Errorf("%w: begins with %q", errHeader, header)
		}
	}
	header = header[:fixedHeader]
	if _, err := io.ReadFull(conn, header[len(Signature):]); err != nil {
		return Ends{}, fmt.Errorf("reading the PROXY header: %w", err)
	}
	command, family := header[len(Signature)], header[len(Signature)+1]
	if command != commandLocal && command != commandProxy {
		return Ends{}, fmt.Errorf("%w: version and command %#02x; wanted 0x20 or 0x21", errHeader, command)
	}
	length := fixedHeader + int(binary.BigEndian.Uint16(header[fixedHeader-2:]))
	if length > maxBinaryHeader {
		return Ends{}, fmt.Errorf("%w: %d octets; wanted at most %d", errHeader, length, maxBinaryHeader)
	}
	header = append(header, make([]byte, length-fixedHeader)...)
	if _, err := io.ReadFull(conn, header[fixedHeader:]); err != nil {
		return Ends{}, fmt.Errorf("reading the PROXY header: %w", err)
	}
	if command == commandLocal {
		return Ends{}, nil // the rest is to be ignored
	}
	return parseBinaryHeader(header, family)
}

// parseBinaryHeader returns the ends in a complete header with the command PROXY. For an
// unknown address family the receiver may accept the connection, as it must for UNKNOWN
// in version 1. A client on a Unix socket has no address either.
func parseBinaryHeader(header []byte, family byte) (Ends, error) {
	addresses := map[byte]int{familyNone: 0, familyTCP4: 12, familyTCP6: 36, familyUnix: 216}
	octets, known := addresses[family]
	if !known {
		return Ends{}, fmt.Errorf("%w: family and protocol %#02x; wanted TCP", errHeader, family)
	}
	if len(header) < fixedHeader+octets {
		return Ends{}, fmt.Errorf("%w: %d octets are too few for its addresses", errHeader, len(header))
	}
	if err := checkValues(header, fixedHeader+octets); err != nil {
		return Ends{}, err
	}
	if family == familyNone || family == familyUnix {
		return Ends{}, nil
	}
	parsed, err := binaryproto.Read(bufio.NewReaderSize(bytes.NewReader(header), len(header)))
	if err != nil {
		return Ends{}, fmt.Errorf("%w: %w", errHeader, err)
	}
	return Ends{AddrPort(parsed.SourceAddr), AddrPort(parsed.DestinationAddr)}, nil
}

// checkValues checks the values after the addresses. Each has a type, a length and so
// many octets. All are ignored but the checksum of the whole header, which is computed
// with the checksum itself set to zero (2.2.5).
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
