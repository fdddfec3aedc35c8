package heal

import (
	"strings"

	"smtpshim/rewrite"
)

// The functions of this file say what a rule would find in a line, for those who
// judge a peer and change nothing.

// Untidy returns the command that tidy-commands would make of one, and what it finds in
// it: some of "colon" (blanks around the colon of MAIL or RCPT, or before the verb),
// "brackets" (none around the address), "parameters" (blanks before or behind them),
// "end" (blanks around another command), "name" (a display name, or a second pair of
// brackets), "apostrophes", "route" (a source route), "unquoted" and "quoted" (a local
// part that has to be in quotes and is not, or the reverse). The command is without its
// CRLF. Nothing is found in commands that the rule does not look at.
func Untidy(command []byte) (tidied string, found []string) {
	verb := rewrite.ParseVerb(command)
	if !untidied.Has(verb) || isTidy(verb, command) {
		return string(command), nil
	}
	line, wrong := tidy(verb, command)
	return line, faultsIn(string(wrong))
}

// HelloFaults returns what fix-hello-name finds in the name of EHLO or HELO: some of
// "missing", "dot" (at its end), "address" (without brackets), "underscore", "letters"
// (beyond ASCII), "loopback" (localhost, which says nothing of the host), or "syntax".
// None: every server has to take the name (RFC 5321, 4.1.1.1).
func HelloFaults(name string) []string {
	_, fault := mendName(name)
	return faultsIn(fault)
}

// OtherProtocol reports whether a line is the first of a request of HTTP or SIP, which
// other-protocols refuses.
func OtherProtocol(line []byte) bool { return isRequest(line) }

func faultsIn(joined string) []string {
	if joined == "" {
		return nil
	}
	return strings.Split(joined, "+")
}
