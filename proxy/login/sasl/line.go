package sasl

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// Encode returns the line that carries a response, or the text of the 334 that
// carries a challenge. An empty one is an empty line.
func Encode(message []byte) string {
	return base64.StdEncoding.EncodeToString(message)
}

// EncodeInitial returns the argument of the AUTH command that carries an initial
// response, which is "=" for an empty one (RFC 4954, section 4).
func EncodeInitial(initial []byte) string {
	if len(initial) == 0 {
		return "="
	}
	return Encode(initial)
}

// DecodeChallenge returns what the text of a 334 holds for the client of a
// mechanism. LOGIN takes a text that is no base64 as it stands, since servers are
// allowed any prompt there; to other mechanisms it is an error.
func DecodeChallenge(mechanism, text string) ([]byte, error) {
	challenge, err := decode(text)
	if err == nil {
		return challenge, nil
	}
	if strings.EqualFold(mechanism, Login) {
		return []byte(text), nil
	}
	return nil, fmt.Errorf("decode the challenge of %s: %d octets that are no base64", mechanism, len(text))
}

// DecodeResponse returns what a line of the client holds. An initial response, the
// argument of AUTH, is empty if it is "=". The result is never nil without an
// error. The error wraps [ErrMalformed] and does not quote the line.
func DecodeResponse(line string, initial bool) ([]byte, error) {
	if initial && line == "=" {
		return []byte{}, nil
	}
	response, err := decode(line)
	if err != nil {
		return nil, fmt.Errorf("%w: a line of %d octets that is no base64", ErrMalformed, len(line))
	}
	return response, nil
}

// decode reads base64 with the padding of RFC 4648 or without it, between
// blanks. The result is not nil. A line end within is an error, though package
// base64 ignores it.
func decode(text string) ([]byte, error) {
	text = strings.Trim(text, " \t")
	if at := strings.IndexAny(text, "\r\n"); at >= 0 {
		return nil, base64.CorruptInputError(at)
	}
	encoding := base64.StdEncoding
	if len(text)%4 != 0 {
		encoding = base64.RawStdEncoding
	}
	message := make([]byte, encoding.DecodedLen(len(text)))
	n, err := encoding.Decode(message, []byte(text))
	return message[:n], err
}
