package main

import (
	"regexp"
	"strings"
)

// findings returns what "smtpshim rules TEXT" finds for the lines with a refusal, or for a
// text of one line, as guesses; nil if it finds nothing.
func (b *builder) findings() (list []finding) {
	lines := b.refusals.lines
	if lines == nil && b.Lines == 1 {
		lines = []string{b.first}
	}
	for _, line := range lines {
		for _, c := range wordCauses(line) {
			if len(list) == maxGuesses {
				return list
			}
			list = append(list, finding{Text: line, Lines: 1, cause: c})
		}
	}
	return list
}

// leastWords is the smallest number of words of a reply that are looked for.
const leastWords = 3

// wordCauses returns the rules that "smtpshim rules TEXT" finds for the words of a reply,
// as guesses. They may answer another code.
func wordCauses(line string) (causes []cause) {
	text := replyText(line)
	if len(tokens(text)) < leastWords {
		return nil
	}
	for _, f := range findRules(text) {
		c := ruleCause(f.rule)
		if c.Guess = true; f.symptoms != nil {
			c.Symptom = f.symptoms[0]
		}
		causes = append(causes, c)
	}
	return ofCommands(plain(line), causes)
}

// replyText returns the text of the last reply in a line, without codes and without what
// programs add to it.
func replyText(line string) string {
	line = plain(line)
	text := line
	for at := range codesIn(line) {
		if rest := strings.TrimLeft(line[at+3:], " -#"); rest != "" {
			text = rest
		}
	}
	text = addedBehind.ReplaceAllString(statusBegins.ReplaceAllString(text, ""), "")
	return strings.Trim(text, " .#*()'\"")
}

// addedBehind matches what Postfix, and servers of Microsoft, append to a text.
var addedBehind = regexp.MustCompile(`(?: \(in reply to [^)]*\)+| \[\S+\.(?:PROD|outlook|protection)\..*\])$`)
