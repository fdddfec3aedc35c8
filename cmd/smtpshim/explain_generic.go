package main

import (
	"regexp"
	"slices"
)

// genericTexts are replies that many servers give for many reasons: those in the words of
// RFC 5321 (4.2.2), RFC 3207, RFC 4954 (6) and RFC 3463, and of servers and libraries
// where they say no more. A symptom in these words is a guess.
var genericTexts = [][]string{
	wordsIn("500 Syntax error, command unrecognized"),
	wordsIn("500 Command unrecognized"),
	wordsIn("500 Error: bad syntax"),
	wordsIn("500 Unrecognized command"),
	wordsIn("501 Syntax error in parameters or arguments"),
	wordsIn("501 Invalid arguments"),
	wordsIn("501 Bad command"),
	wordsIn("501 Bad sender address syntax"),
	wordsIn("501 Bad recipient address syntax"),
	wordsIn("502 Command not implemented"),
	wordsIn("502 Invalid/unsupported command"),
	wordsIn("503 Bad sequence of commands"),
	wordsIn("504 Command parameter not implemented"),
	wordsIn("530 Authentication required"),
	wordsIn("530 Must issue a STARTTLS command first"),
	wordsIn("535 Authentication failed"),
	wordsIn("535 Error: authentication failed"),
	wordsIn("535 Authentication unsuccessful"),
	wordsIn("535 Incorrect authentication data"),
	wordsIn("555 Syntax error"),
	wordsIn("250-Hello"),
	wordsIn("SMTP AUTH extension not supported by server"),
	wordsIn("STARTTLS extension not supported by server"),
	wordsIn("No compatible authentication mechanisms found."),
	wordsIn("Login denied"),
	wordsIn("invalid response"),
}

// isGeneric reports whether a line that has a symptom, or a piece of it, has no more of it
// than a generic text.
func isGeneric(symptom, line []string) bool {
	return slices.ContainsFunc(genericTexts, func(g []string) bool {
		return contains(g, symptom) && contains(line, g) || len(symptom) > len(line) && contains(g, line)
	})
}

// helloRules are rules for refusals of EHLO. Where a line says that it is one, a generic
// text is enough.
var helloRules = []string{"fall-back-to-helo", "second-ehlo"}

// unnamedCommand matches what Office 365 says instead of a command that it has not read
// (muquit/mailsend#152). Comparison ignores marks.
var unnamedCommand = regexp.MustCompile(`'(?:\?+|unknown)'`)

// withGeneric makes guesses of the rules that a line shows by a generic text only.
func withGeneric(line string, causes []cause) []cause {
	for i, c := range causes {
		switch {
		case !c.generic:
		case slices.Contains(helloRules, c.Rule) && commandsNamed(line) != nil: // it is EHLO: see ofCommands
		case c.Rule == "retry-ehlo" && unnamedCommand.MatchString(line):
		default:
			causes[i].Guess = true
		}
	}
	return causes
}

// alongside returns the findings with the guesses that a generic text shows behind the
// certain findings of the same line.
func alongside(found, guesses []finding) []finding {
	for _, g := range guesses {
		if !g.generic {
			continue
		}
		at := len(found) - 1
		for at >= 0 && found[at].Text != g.Text {
			at--
		}
		if at >= 0 {
			found = slices.Insert(found, at+1, g)
		}
	}
	return found
}
