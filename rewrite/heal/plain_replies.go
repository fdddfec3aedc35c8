package heal

import (
	"strings"
	"unicode/utf8"

	"smtpshim/rewrite"
)

func plainReplies() rewrite.Rule {
	return rewrite.Rule{
		Name:  "plain-replies",
		Heals: "clients that fail on reply lines over 512 octets, or on octets in them that are not ASCII",
		Doc: "A line of a reply may have 512 octets, with its code and CRLF, and only ASCII unless the client has asked for UTF-8. The " +
			"rule cuts off longer lines; in the reply to EHLO it cuts them at a blank, so that no parameter is cut in two. Any character " +
			"beyond ASCII becomes a question mark if the client was not offered SMTPUTF8. A 334 stays as it is: it is a challenge.",
		Symptoms: []string{"UnicodeDecodeError: 'ascii' codec can't decode byte"},
		Source:   "RFC 5321, 4.2 and 4.5.3.1.5; RFC 6531, 3.7.4.2",
		Entries:  []string{"L87"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Odd: rewrite.EveryVerb, Reply: makePlain}, nil
		},
	}
}

func makePlain(t *rewrite.Turn) {
	r := t.Reply()
	if r.Code == 334 {
		return
	}
	for i, text := range r.Lines {
		if !isASCII(text) && !t.Shown().Has("SMTPUTF8") {
			text = strings.Map(func(c rune) rune {
				if c >= utf8.RuneSelf {
					return '?'
				}
				return c
			}, text)
		}
		if len(text) > maxJoined {
			cut := runeStart(text, maxJoined)
			if at := strings.LastIndexByte(text[:cut+1], ' '); at > 0 && i > 0 && r.Code < 300 && hellos.Has(t.Verb()) {
				cut = at
			}
			text = strings.TrimRight(text[:cut], blanks)
		}
		r.Lines[i] = text
	}
}

// runeStart returns the index of the last beginning of a character at or before at, so
// that a cut there does not split it. If text is not UTF-8, it returns at.
func runeStart[T string | []byte](text T, at int) int {
	for start := at; start > 0 && start > at-utf8.UTFMax; start-- {
		if utf8.RuneStart(text[start]) {
			return start
		}
	}
	return at
}
