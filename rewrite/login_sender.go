package rewrite

import (
	"regexp"
	"slices"
	"strings"
)

var unclearSender = Reply{501, []string{"5.5.4 it is not clear which part of this is the sender"}}

// These patterns accept a MAIL of a session with a login only if it can be read in one
// way. They are the parts of RFC 5321, 4.1.2, and allow octets of UTF-8 (RFC 6531, 3.3),
// a mailbox without a domain, and blanks around the colon.
var (
	mailFrom  = regexp.MustCompile(`^(?i)[ \t]*MAIL[ \t]+FROM[ \t]*:[ \t]*$`)
	oneSender = regexp.MustCompile(`^(?:@` + dotted + `(?:,@` + dotted + `)*:)?(?:` + dotted + `|` + quotedText + `)(?:@(?:` + dotted + `|\[[0-9A-Za-z.:-]+\]))?$`)
	parameter = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z-]*(?:=[^=\x00-\x20\x7f]*)?$`)
)

const (
	dotted     = `[^\x00-\x20\x7f"(),:;<>@\[\\\]]+`
	quotedText = `"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"`
)

// senderOf parses a MAIL of a session that uses a login. address is the sender without
// brackets. ok is false if some server may read another sender than we do, as in `MAIL
// FROM:Ann <ben@example.org>` or `<ben@example.org(@example.com>`.
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

// namesAnother reports whether a parameter of MAIL names the sender of the message: AUTH
// (RFC 4954, 5) or SUBMITTER (RFC 4405, 4). A server trusts these from whoever is logged
// in. Here we are logged in, and the client is not.
func namesAnother(param string) bool {
	return slices.Contains([]string{"AUTH", "SUBMITTER"}, Path{}.Keyword(param))
}
