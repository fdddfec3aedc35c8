package heal

import (
	"bytes"
	"encoding/base64"
	"strings"

	"smtpshim/rewrite"
)

// standsFor reports whether the client can be shown one mechanism of AUTH in place of
// another: the server offers known and does not offer shown.
func standsFor(t *rewrite.Turn, shown, known string) bool {
	return t.Server().Has("AUTH", known) && !t.Server().Has("AUTH", shown)
}

// offerMechanism offers the client shown if the server offers only known.
func offerMechanism(t *rewrite.Turn, shown, known string) {
	if standsFor(t, shown, known) && !t.Extensions().Extend("AUTH ", shown) {
		t.Extensions().Add("AUTH " + shown)
	}
}

// initialResponse returns the initial response of an AUTH command; "" if it has none.
func initialResponse(t *rewrite.Turn) string {
	_, response, _ := strings.Cut(string(rewrite.Argument(t.Line())), " ")
	return strings.Trim(response, blanks)
}

// maxSASL is the longest line of an AUTH exchange without its CRLF, in octets
// (RFC 4954, 4).
const maxSASL = 12288 - 2

// sayCredentials sends AUTH PLAIN with a name and a password, which are in base64. The
// client gets 501 if one of them is not base64 or has a NUL, which would end the name,
// and 500 if the line would be too long.
func sayCredentials(t *rewrite.Turn, name, password string) {
	if name == "=" {
		name = "" // "=" on the line of AUTH is an empty response (RFC 4954, 4)
	}
	user, userErr := base64.StdEncoding.DecodeString(name)
	secret, secretErr := base64.StdEncoding.DecodeString(password)
	if userErr != nil || secretErr != nil || bytes.IndexByte(user, 0) >= 0 || bytes.IndexByte(secret, 0) >= 0 {
		t.Answer(rewrite.Reply{Code: 501, Lines: []string{"5.5.2 name and password are to be in base64"}})
		return
	}
	line := "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+string(user)+"\x00"+string(secret)))
	if len(line) > maxSASL {
		t.Answer(rewrite.Reply{Code: 500, Lines: []string{"5.5.6 name and password are too long for one line"}}) // RFC 4954, 4
		return
	}
	t.SetLine(line)
}
