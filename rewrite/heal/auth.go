package heal

import (
	"bytes"
	"encoding/base64"
	"strings"

	"smtpshim/rewrite"
)

// standsFor reports whether one mechanism of AUTH stands for another, which the
// server offers while it does not offer the one.
func standsFor(t *rewrite.Turn, shown, known string) bool {
	return t.Server().Has("AUTH", known) && !t.Server().Has("AUTH", shown)
}

// offerMechanism shows the client a mechanism that stands for another.
func offerMechanism(t *rewrite.Turn, shown, known string) {
	if standsFor(t, shown, known) && !t.Extensions().Extend("AUTH ", shown) {
		t.Extensions().Add("AUTH " + shown)
	}
}

// initialResponse is what stands behind the mechanism of an AUTH command; "" if
// nothing does.
func initialResponse(t *rewrite.Turn) string {
	_, response, _ := strings.Cut(string(rewrite.Argument(t.Line())), " ")
	return strings.Trim(response, blanks)
}

// maxSASL is the longest line of an AUTH exchange without its CRLF, in octets
// (RFC 4954, 4).
const maxSASL = 12288 - 2

// sayCredentials says AUTH PLAIN with a name and a password in base64. What is
// not base64, or has a NUL in it, which would be another name, gets 501, and what
// is too long 500.
func sayCredentials(t *rewrite.Turn, name, password string) {
	if name == "=" {
		name = "" // on the line of AUTH (RFC 4954, 4)
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
