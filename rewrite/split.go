package rewrite

import "smtpshim/rewrite/vocabulary"

// The lengths, in octets with CRLF, of commands that an old server may take for several:
// JNOS 2.0 splits lines at 255, Sendmail 5.61 at 1,024 and Sendmail 8.6 at 2,048. RFC
// 5321, 4.5.3.1.4 promises 512. All three answer one by one, and JNOS and 5.61 have no
// extensions.
const (
	splitPlain    = 255 // by servers without extensions
	splitOneByOne = 512 // by servers without PIPELINING
)

// maySplit reports whether the server may take a command of so many octets for several.
func (d *Dialogue) maySplit(octets int) bool {
	return octets > splitOneByOne && d.server.known&offersPIPELINING == 0 ||
		octets > splitPlain && !esmtp.Has(ParseVerb(d.hello)) // also before any hello
}

// MaySplit reports whether the command whose reply is awaited is so long that the server
// may take it for several, and answer each. The caller waits for a second reply then,
// before it gives the first to Reply: with two, it calls Split.
func (d *Dialogue) MaySplit() bool { return d.long && d.sent.n == 1 }

// Split says that the server has given several replies to one command. Which of them
// answers a later command could not be told: nothing more is said to the server.
func (d *Dialogue) Split() {
	d.server.gone = true
	d.end(vocabulary.OutcomeServerProtocol, splitText)
}

const splitText = "421 4.3.0 the server takes a command that long for several"
