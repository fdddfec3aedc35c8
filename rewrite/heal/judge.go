package heal

import (
	"strings"

	"smtpshim/rewrite"
)

// The functions of this file report what a rule would find in a line, for callers that
// test a client or server and change nothing.

// Untidy returns what the rule tidy-commands makes of command, and the names of the
// faults that the rule finds in it. command and tidied have no CRLF. The names are
//
//	colon        blanks around the colon of MAIL or RCPT, or before the verb
//	brackets     no brackets around the address
//	parameters   blanks before or after the parameters
//	end          blanks around any other command, or too many blanks in AUTH
//	name         a display name, or a second pair of brackets
//	apostrophes  apostrophes around the address
//	route        a source route
//	unquoted     a local part that lacks its quotes
//	quoted       a local part with needless quotes
//
// If command is tidy, or has a verb that the rule ignores, tidied is command and found
// is nil.
func Untidy(command []byte) (tidied string, found []string) {
	verb := rewrite.ParseVerb(command)
	if !untidied.Has(verb) || isTidy(verb, command) {
		return string(command), nil
	}
	line, wrong := tidy(verb, command)
	return line, faultsIn(string(wrong))
}

// HelloFaults returns the faults that fix-hello-name finds in name, the argument of EHLO
// or HELO: some of "missing", "dot" (at its end), "address" (without brackets),
// "underscore", "letters" (beyond ASCII), "loopback" (such as localhost, which does not
// identify a host) and "syntax". A name without faults must be accepted by every server
// (RFC 5321, 4.1.1.1).
func HelloFaults(name string) []string {
	_, fault := mendName(name)
	return faultsIn(fault)
}

// OtherProtocol reports whether line is the first line of a request of HTTP or SIP. The
// rule other-protocols refuses such lines.
func OtherProtocol(line []byte) bool { return isRequest(line) }

func faultsIn(joined string) []string {
	if joined == "" {
		return nil
	}
	return strings.Split(joined, "+")
}
