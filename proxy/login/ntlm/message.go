package ntlm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrMalformed means that a message is none, or that a field points out of it.
var ErrMalformed = errors.New("malformed ntlm message")

// checkHeader looks for the signature and the type that each message begins with.
func checkHeader(message []byte, kind uint32, size int) error {
	if len(message) < size || !strings.HasPrefix(string(message), signature) {
		return fmt.Errorf("%w: %d octets, want NTLMSSP and %d or more", ErrMalformed, len(message), size)
	}
	if got := binary.LittleEndian.Uint32(message[8:]); got != kind {
		return fmt.Errorf("%w: type %d, want %d", ErrMalformed, got, kind)
	}
	return nil
}

// payload returns what the field at an offset points to. The field has a length, a
// maximum length that is ignored, and an offset ([MS-NLMP] 2.2.1). What is empty
// may point anywhere.
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

// putField writes a field that points to what is appended to the message.
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

// fromOEM decodes a name in the code page of the client, which nobody tells: it is
// assumed to be UTF-8 if it can be, and else Latin-1.
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

// upper puts a name in capitals, rune by rune: as Windows does, no rune becomes
// two.
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

// findAV returns the value of an attribute, nil if there is none. A list that ends
// too early ends there: some clients have none.
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
