package rewrite

import (
	"bytes"

	"smtpshim/rewrite/vocabulary"
)

const badAnnouncement = "501 5.5.4 a command that announces text ends with CRLF and has no control characters in it"

// Announces reports whether a client's line, however it is spelled, announces octets
// that are not commands: BDAT, and DATA and XEXCH50 too, which a client may send ahead
// of its text. Control characters count as if they were not there. If we cannot take
// the line, what follows it must not be read as commands.
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

// misspelt reports whether a line announces text and is no command that we can take.
func misspelt(v Verb, isLine bool, line []byte) bool {
	return (!isLine || v == VerbOther) && Announces(line)
}

// announcing are the verbs of Announces.
var announcing = SetOf(VerbBDAT, VerbDATA, VerbXEXCH50)

// unreadable ends the session of a client that has announced text in a line that we
// cannot take.
func (d *Dialogue) unreadable(text string) {
	d.server.gone = true
	d.end(vocabulary.OutcomeClientProtocol, text)
}
