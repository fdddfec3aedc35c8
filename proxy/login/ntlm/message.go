package ntlm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrMalformed means that octets are not the NTLM message that is due, or that a field
// of the message is not valid, for example because it points outside of the message.
var ErrMalformed = errors.New("malformed ntlm message")

// checkHeader checks the signature and the type at the beginning of a message.
func checkHeader(message []byte, kind uint32, size int) error {
	if len(message) < size || !strings.HasPrefix(string(message), signature) {
		return fmt.Errorf("%w: %d octets, want NTLMSSP and %d or more", ErrMalformed, len(message), size)
	}
	if got := binary.LittleEndian.Uint32(message[8:]); got != kind {
		return fmt.Errorf("%w: type %d, want %d", ErrMalformed, got, kind)
	}
	return nil
}

// payload returns the data that the field at offset at points to. A field has a length, a
// maximum length, which is ignored, and an offset ([MS-NLMP] 2.2.1). The offset of an
// empty field may have any value.
func payload(message []byte, at int) ([]byte, error) {
	length := uint64(binary.LittleEndian.Uint16(message[at:]))
	offset := uint64(binary.LittleEndian.Uint32(message[at+4:]))
	if length == 0 {
		return nil, nil
	}
	if offset+length > uint64(len(message)) {
		return nil, fmt.Errorf("%w: %d octets at %d in a message of %d", ErrMalformed, length, offset, len(message))
	}
	return message[offset : offset+length], nil
}

// putField appends data to the message and writes a field that points to it.
func putField(message []byte, at int, data []byte) []byte {
	binary.LittleEndian.PutUint16(message[at:], uint16(len(data)))
	binary.LittleEndian.PutUint16(message[at+2:], uint16(len(data)))
	binary.LittleEndian.PutUint32(message[at+4:], uint32(len(message)))
	return append(message, data...)
}

// toUnicode encodes a text in UTF-16, little endian.
func toUnicode(text string) []byte {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, unit)
	}
	return out
}

// fromUnicode decodes UTF-16, little endian.
func fromUnicode(octets []byte) (string, error) {
	if len(octets)%2 != 0 {
		return "", fmt.Errorf("%w: a name in UTF-16 of %d octets", ErrMalformed, len(octets))
	}
	units := make([]uint16, len(octets)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(octets[2*i:])
	}
	return string(utf16.Decode(units)), nil
}

// fromOEM decodes a name in the client's code page, which is unknown: it is UTF-8 if the
// name is valid UTF-8, and otherwise Latin-1.
func fromOEM(octets []byte) string {
	if utf8.Valid(octets) {
		return string(octets)
	}
	runes := make([]rune, len(octets))
	for i, c := range octets {
		runes[i] = rune(c)
	}
	return string(runes)
}

// upper returns name in upper case. As in Windows, each rune stays one rune.
func upper(name string) string { return strings.ToUpper(name) }

// The attributes of target information ([MS-NLMP] 2.2.2.1).
const (
	avEnd          = 0
	avComputer     = 1
	avDomain       = 2
	avDNSComputer  = 3
	avDNSDomain    = 4
	avFlags        = 6
	avTimestamp    = 7
	avFlagMIC      = 2 // in avFlags: the message has an integrity code
	avHeaderOctets = 4
)

func appendAV(info []byte, id uint16, value []byte) []byte {
	info = binary.LittleEndian.AppendUint16(info, id)
	info = binary.LittleEndian.AppendUint16(info, uint16(len(value)))
	return append(info, value...)
}

// findAV returns the value of an attribute, nil if there is none. A truncated list ends
// where it is cut; some clients send no list.
func findAV(info []byte, id uint16) []byte {
	for len(info) >= avHeaderOctets {
		got := binary.LittleEndian.Uint16(info)
		length := int(binary.LittleEndian.Uint16(info[2:]))
		info = info[avHeaderOctets:]
		if got == avEnd || length > len(info) {
			return nil
		}
		if got == id {
			return info[:length]
		}
		info = info[length:]
	}
	return nil
}
