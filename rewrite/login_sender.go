package rewrite

import (
	"regexp"
	"slices"
	"strings"
)

var unclearSender = Reply{501, []string{"5.5.4 it is not clear which part of this is the sender"}}

// A MAIL of a login has one reading: these are its parts in RFC 5321, 4.1.2, with octets
// of UTF-8 (RFC 6531, 3.3), a name without a domain, and blanks around the colon.
var (
	mailFrom  = regexp.MustCompile(`^(?i)[ \t]*MAIL[ \t]+FROM[ \t]*:[ \t]*$`)
	oneSender = regexp.MustCompile(`^(?:@` + dotted + `(?:,@` + dotted + `)*:)?(?:` + dotted + `|` + quotedText + `)(?:@(?:` + dotted + `|\[[0-9A-Za-z.:-]+\]))?$`)
	parameter = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z-]*(?:=[^=\x00-\x20\x7f]*)?$`)
)

const (
	dotted     = `[^\x00-\x20\x7f"(),:;<>@\[\\\]]+`
	quotedText = `"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"`
)

// senderOf takes apart a MAIL of a session that uses a login. ok is false where some
// server may find another sender in it than we do: in `MAIL FROM:Ann <ben@example.org>`,
// or `<ben@example.org(@example.com>`. address has no brackets.
func senderOf(line []byte) (p Path, address string, ok bool) {
	if p, ok = ParsePath(line); !ok || !mailFrom.MatchString(p.Prefix) {
		return Path{}, "", false
	}
	address, bracketed := p.Address, strings.HasPrefix(p.Address, "<")
	if bracketed {
		address = strings.Trim(address[len("<"):len(address)-len(">")], blanks)
	}
	if !oneSender.MatchString(address) && !(bracketed && address == "") {
		return Path{}, "", false
	}
	for _, param := range p.Params {
		if !parameter.MatchString(param) {
			return Path{}, "", false
		}
	}
	return p, address, true
}

// namesAnother reports whether a parameter of MAIL names who has sent the message:
// AUTH (RFC 4954, 5) and SUBMITTER (RFC 4405, 4). A server believes them of whoever is
// logged in, and the client is not.
func namesAnother(param string) bool {
	return slices.Contains([]string{"AUTH", "SUBMITTER"}, Path{}.Keyword(param))
}
