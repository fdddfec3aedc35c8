package main

import (
	"regexp"
	"slices"
	"strings"
)

// answersTo maps rules to the commands that their symptoms answer. A rule that is not
// listed may have symptoms that answer any command.
var answersTo = map[string][]string{
	"fix-hello-name":       {"EHLO", "HELO", "LHLO"},
	"fall-back-to-helo":    {"EHLO", "LHLO"},
	"masked-ehlo":          {"EHLO"},
	"retry-ehlo":           {"EHLO", "HELO"},
	"second-ehlo":          {"EHLO", "HELO"},
	"repeat-ehlo":          {"MAIL", "RCPT", "DATA", "AUTH", "RSET", "NOOP", "VRFY"},
	"upper-case-verbs":     {"EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT", "AUTH", "STARTTLS", "VRFY", "EXPN", "HELP", "ETRN"},
	"strip-parameters":     {"MAIL", "RCPT"},
	"tidy-commands":        {"MAIL", "RCPT", "DATA"},
	"reset-before-mail":    {"MAIL"},
	"too-many-recipients":  {"RCPT"},
	"mend-505":             {"MAIL", "RCPT", "DATA", "AUTH"},
	"retry-starttls":       {"MAIL"},
	"hide-failed-starttls": {"STARTTLS"},
	"login-to-plain":       {"AUTH"},
	"map-auth-names":       {"AUTH"},
	"defer-auth-failures":  {"AUTH"},
	"join-auth-lines":      {"AUTH"},
	"split-auth-line":      {"AUTH"},
	"stray-bytes":          {"DATA", "BDAT"},
	"long-lines":           {"DATA", "BDAT"},
	"bdat-to-data":         {"DATA", "BDAT"},
	"other-protocols":      {"GET", "POST", "CONNECT"},
}

// mayAnswer reports whether a symptom of a rule may answer one of these commands; it does
// if none is known.
func mayAnswer(rule string, commands []string) bool {
	to := answersTo[rule]
	return to == nil || len(commands) == 0 || slices.ContainsFunc(commands, func(c string) bool { return slices.Contains(to, c) })
}

// verbs are the commands that a line may name.
const verbs = `(EHLO|HELO|LHLO|MAIL|RCPT|DATA|BDAT|RSET|NOOP|QUIT|VRFY|EXPN|HELP|ETRN|ATRN|TURN|AUTH|STARTTLS|` +
	`XEXCH50|X-EXPS|X-LINK2STATE|XAUTH|XCLIENT|XFORWARD|XXXX|GET|POST|CONNECT)`

// commandNamed matches the command that a reply answers: as Postfix, Exim, PHPMailer
// and nodemailer name it, or as the reply itself does, in quotes.
var commandNamed = []*regexp.Regexp{
	regexp.MustCompile(`(?:in reply to|in response to|\bafter)(?: pipelined)?(?: the)? ` + verbs + `\b`),
	regexp.MustCompile(`\b` + verbs + `(?: FROM| TO)? command failed`),
	regexp.MustCompile(`\bcommand(?:=|":) ?"?` + verbs + `\b`),
	regexp.MustCompile(`(?i)\b(?:command|unrecogni[sz]ed|unknown|implemented)[:,]? ?["'<(\x60]+` + verbs + `\b`),
}

// endOfData matches the end of a message as the command that a reply answers.
var endOfData = regexp.MustCompile(`(?i)(?:in reply to|after) end of data\b`)

// commandsNamed returns the commands of which one got the refusal in a line, as far as the
// line names it or has an enhanced status code about an address or a mailbox (RFC 3463,
// 3.2 and 3.3); nil: it may be any.
func commandsNamed(line string) []string {
	if endOfData.MatchString(line) {
		return []string{"DATA", "BDAT"}
	}
	for _, named := range commandNamed {
		if m := named.FindStringSubmatch(line); m != nil {
			if m[1] == "XXXX" { // a firewall hides the command, such as EHLO (KB320027)
				return []string{"EHLO"}
			}
			return []string{strings.ToUpper(m[1])}
		}
	}
	for _, m := range statusIn.FindAllStringSubmatch(line, -1) {
		switch {
		case m[2] == "1.7" || m[2] == "1.8":
			return []string{"MAIL"}
		case m[2] != "1.0" && strings.HasPrefix(m[2], "1.") || strings.HasPrefix(m[2], "2."):
			return []string{"RCPT", "DATA"}
		}
	}
	return nil
}
