package heal

import (
	"bytes"

	"smtpshim/rewrite"
)

func upperCaseVerbs() rewrite.Rule {
	return rewrite.Rule{
		Name:  "upper-case-verbs",
		Heals: "servers that know commands in upper case only, before clients such as Python's that send ehlo",
		Doc: "Verbs and the words FROM and TO may have any case, and RFC 5321 notes that a few servers require upper case. The rule " +
			"changes the verb of each command, the word before the colon of MAIL and RCPT, and the mechanism of AUTH to upper case. " +
			"Addresses, parameters and the client's lines of an AUTH exchange stay as they are; so does BDAT.",
		Symptoms: []string{"500 Expected EHLO or HELO", "502 Command not implemented"},
		Source:   "RFC 5321, 2.4; github.com/marlam/msmtp/issues/45; github.com/jfoucher/Mailocal/issues/7",
		Entries:  []string{"L95"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			verbs := hellos | rewrite.SetOf(rewrite.VerbSTARTTLS, rewrite.VerbAUTH, rewrite.VerbMAIL, rewrite.VerbRCPT, rewrite.VerbDATA, rewrite.VerbRSET,
				rewrite.VerbNOOP, rewrite.VerbQUIT, rewrite.VerbVRFY, rewrite.VerbEXPN, rewrite.VerbHELP, rewrite.VerbETRN)
			return rewrite.Actions{Commands: verbs, Command: func(t *rewrite.Turn) {
				line := t.Line()
				if n := keywordLength(t.Verb(), line); bytes.ContainsFunc(line[:n], isLower) {
					upper := bytes.Clone(line)
					for i, c := range upper[:n] {
						if isLower(rune(c)) {
							upper[i] = c - 'a' + 'A'
						}
					}
					t.SetLine(string(upper))
				}
			}}, nil
		},
	}
}

// keywordLength returns the number of octets at the beginning of a command that ignore
// case. They include the verb.
func keywordLength(v rewrite.Verb, line []byte) int {
	verb := wordEnd(line, 0)
	switch v {
	case rewrite.VerbMAIL, rewrite.VerbRCPT:
		if colon := bytes.IndexByte(line, ':'); colon > verb && !bytes.ContainsAny(line[:colon], `<"`) {
			return colon
		}
	case rewrite.VerbAUTH:
		return wordEnd(line, verb)
	}
	return verb
}

// wordEnd returns the index of the end of the next word at or after at.
func wordEnd(line []byte, at int) int {
	for at < len(line) && isBlank(line[at]) {
		at++
	}
	for at < len(line) && !isBlank(line[at]) && line[at] != ':' && line[at] != '=' {
		at++
	}
	return at
}

func isLower(c rune) bool { return 'a' <= c && c <= 'z' }
