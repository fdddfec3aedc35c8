package main

import (
	"regexp"
	"slices"
)

// imsReply matches what the Internet Mail Service of Exchange 4.0 to 5.5 repeats in the
// last line about a recipient, behind a number of its own (KB Q195201): the reply of the
// other server, or a text without a code.
var imsReply = regexp.MustCompile(`\bMSEXCH:IMS:.*\([0-9A-F]{8}\) (\S.*)`)

// smtpReply matches the reply that Exchange 2000 and later repeat behind their own status.
var smtpReply = regexp.MustCompile(`#[45]\.[0-9]{1,3}\.[0-9]{1,3} smtp; ?([45][0-9]{2}[ -]\S.*)`)

// exchangeWords matches the words with which Exchange 4.0 to 5.5 describes refusals of all
// kinds, in a line of their own.
var exchangeWords = regexp.MustCompile(`(?i)^\W*the recipient name is not recognized\W*$`)

// imsReplyIn returns the reply with a code that the Internet Mail Service repeats in a
// line; "": none.
func imsReplyIn(line string) string {
	if m := imsReply.FindStringSubmatch(line); m != nil && hasReplyCode(m[1]) {
		return m[1]
	}
	return ""
}

// knownCauses returns the causes that a line shows for certain, and the guesses that it
// shows by a generic text. Where the line repeats a reply, that counts, and not the words
// with which Exchange describes it: it says "The recipient name is not recognized" of a
// refusal to relay too.
func (e *explainer) knownCauses(line string) []cause {
	if reply := imsReplyIn(line); reply != "" {
		return e.causesIn(reply)
	}
	m := imsReply.FindStringSubmatch(line) // a text without a code
	if m == nil {
		m = smtpReply.FindStringSubmatch(line)
	}
	if m != nil {
		if causes := e.causesIn(m[1]); slices.ContainsFunc(causes, func(c cause) bool { return !c.Guess && c.weight > weightStatus }) {
			return causes
		}
	}
	return e.causesIn(line)
}

// describes reports whether a line has nothing but Exchange's own words, and keeps it:
// another line may have the reply.
func (b *builder) describes(line string) bool {
	if !exchangeWords.MatchString(line) {
		return false
	}
	b.described = line
	return true
}

// description explains the kept line if no line has a reply.
func (b *builder) description() {
	if b.described != "" && !b.replied {
		b.tell(b.described, b.explains.causesOf(b.described))
	}
}
