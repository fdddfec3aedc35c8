package sasl

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// Encode returns message in base64: the line of a response, or the text of the 334 of a
// challenge. For an empty message it returns "".
func Encode(message []byte) string {
	return base64.StdEncoding.EncodeToString(message)
}

// EncodeInitial returns initial, an initial response, as the argument of the AUTH command:
// in base64, or "=" if it is empty (RFC 4954, section 4).
func EncodeInitial(initial []byte) string {
	if len(initial) == 0 {
		return "="
	}
	return Encode(initial)
}

// DecodeChallenge returns the challenge in text, the text of a 334, for the client of
// mechanism. A text that is not base64 is returned unchanged for LOGIN, because servers
// may send any prompt. It is an error for other mechanisms.
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

// DecodeResponse returns the response in line, a line of the client in base64. If initial
// is true, line is the initial response of AUTH, in which "=" means empty. The result is
// nil only with an error, which wraps [ErrMalformed] and does not quote the line.
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

// decode decodes base64, with or without the padding of RFC 4648, between blanks. The
// result is not nil. A line end inside is an error, although package base64 ignores it.
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
