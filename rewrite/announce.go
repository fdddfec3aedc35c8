package rewrite

import (
	"bytes"

	"smtpshim/rewrite/vocabulary"
)

const badAnnouncement = "501 5.5.4 a command that announces text ends with CRLF and has no control characters in it"

// Announces reports whether line, which a client has sent, announces octets that are
// not commands. A BDAT does. So do DATA and XEXCH50, because a client may send its text
// without waiting for the reply. line need not be well formed: Announces ignores case,
// leading blanks and control characters. If such a line cannot be accepted, what
// follows must not be read as commands. So if line is too long, the caller passes the
// result to [Dialogue.TooLong].
func Announces(line []byte) bool {
	var room [len("XEXCH50") + 1]byte
	word := room[:0]
	for _, c := range bytes.TrimLeftFunc(line, isControlOrBlank) {
		if len(word) == len(room) || isBlank(c) || c == '=' || c == ':' {
			break
		}
		if c > ' ' && c != 0x7f {
			word = append(word, c)
		}
	}
	return announcing.Has(verbNamed(upper(room[:], string(word)))) ||
		len(word) > len("BDAT") && foldEqual(word[:len("BDAT")], "BDAT") && '0' <= word[4] && word[4] <= '9' // no blank
}

func isControlOrBlank(c rune) bool { return c <= ' ' || c == 0x7f }

// misspelt reports whether a line announces octets but is not a command that we can
// accept.
func misspelt(v Verb, isLine bool, line []byte) bool {
	return (!isLine || v == VerbOther) && Announces(line)
}

// announcing is the set of verbs that Announces looks for.
var announcing = SetOf(VerbBDAT, VerbDATA, VerbXEXCH50)

// unreadable ends the session of a client whose line announces octets and cannot be
// accepted.
func (d *Dialogue) unreadable(text string) {
	d.server.gone = true
	d.end(vocabulary.OutcomeClientProtocol, text)
}
