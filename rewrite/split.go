package rewrite

import "smtpshim/rewrite/vocabulary"

// splitPlain and splitOneByOne are the lengths, in octets with CRLF, of the longest
// commands that every old server reads as one. JNOS 2.0 splits lines at 255, Sendmail
// 5.61 at 1,024 and Sendmail 8.6 at 2,048; RFC 5321, 4.5.3.1.4 requires 512. None of the
// three has PIPELINING, and JNOS and 5.61 have no extensions.
const (
	splitPlain    = 255 // servers without extensions
	splitOneByOne = 512 // servers without PIPELINING
)

// maySplit reports whether the server may read a command of so many octets as several.
func (d *Dialogue) maySplit(octets int) bool {
	return octets > splitOneByOne && d.server.known&offersPIPELINING == 0 ||
		octets > splitPlain && !esmtp.Has(ParseVerb([]byte(d.hello))) // also before any hello
}

// MaySplit reports whether the command that awaits its reply is so long that the server
// may read it as several commands and answer each. If the result is true, the caller
// reads the first reply and waits briefly for a second. If none comes, or a 421, it
// passes the first reply to Reply. If another reply comes, it calls Split instead.
func (d *Dialogue) MaySplit() bool { return d.long && d.sent.n == 1 }

// Split tells the dialogue that the server has sent several replies to one command. It
// would not be clear which command a later reply answers, so the client gets a 421 and
// the session ends.
func (d *Dialogue) Split() {
	d.server.gone = true
	d.end(vocabulary.OutcomeServerProtocol, splitText)
}

const splitText = "421 4.3.0 the server takes a command that long for several"
