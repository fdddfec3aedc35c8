package heal

import (
	"bytes"

	"smtpshim/rewrite"
)

func blankLines() rewrite.Rule {
	return rewrite.Rule{
		Name:  "blank-lines",
		Heals: "servers that answer a blank line with 500, for clients that send one between commands and take that for another reply",
		Doc: "Such a client does not know that it has sent a line, mostly a CRLF too many after its message, and takes the 500 for the " +
			"reply to its next command. The rule drops a line of blanks, and nobody answers it. If somebody types a blank line to test " +
			"the server, no reply comes.",
		Symptoms: []string{"500 5.5.2 Error: bad syntax"},
		Source:   "Postfix, postconf(5), smtpd_command_filter; RFC 5321, 4.1.1",
		Entries:  []string{"L94"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Commands: rewrite.SetOf(rewrite.VerbOther), Command: func(t *rewrite.Turn) {
				if len(bytes.Trim(t.Said(), blanks)) == 0 {
					t.Swallow()
				}
			}}, nil
		},
	}
}

func otherProtocols() rewrite.Rule {
	return rewrite.Rule{
		Name:  "other-protocols",
		Heals: "servers behind a client that speaks HTTP: a browser or a proxy that somebody has sent to the mail server",
		Doc: "The data of such a client contains commands that somebody else has written. A request line of HTTP or SIP ends the session " +
			"with 421 at once. A line that looks like a field of a header, as no command of SMTP does, gets 500, and the third such line " +
			"ends the session. None of these lines reaches the server.",
		Symptoms: []string{"221 2.7.0 Error: I can break rules, too. Goodbye.", "non-SMTP command from"},
		Source:   "Postfix, postconf(5), smtpd_forbidden_commands; J. Topf, The HTML Form Protocol Attack, 2001; RFC 9110, 9.1",
		Entries:  []string{"L96"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{
				State:   func() any { return new(int) },
				Command: refuseOthers, Commands: rewrite.SetOf(rewrite.VerbOther),
			}, nil
		},
	}
}

// maxFields is the number of lines like header fields that end the session.
const maxFields = 3

func refuseOthers(t *rewrite.Turn) {
	switch {
	case isRequest(t.Said()):
		t.Answer(rewrite.Reply{Code: 421, Lines: []string{"4.7.0 this is SMTP, and no other protocol"}})
	case isField(t.Said()):
		fields := t.State().(*int)
		if *fields++; *fields == maxFields {
			t.Answer(rewrite.Reply{Code: 421, Lines: []string{"4.7.0 this is SMTP, and fields of a header are no commands"}})
			return
		}
		t.Answer(rewrite.Reply{Code: 500, Lines: []string{"5.5.2 a field of a header is no command"}})
	}
}

// isRequest reports whether line begins a request of HTTP or SIP: it has a method, a
// target and a protocol with a version, or a method that is no verb of SMTP.
func isRequest(line []byte) bool {
	method, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok || len(method) == 0 {
		return false
	}
	switch string(method) {
	case "GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "CONNECT", "PRI":
		return true
	}
	at := bytes.LastIndexByte(rest, ' ')
	return at > 0 && (bytes.HasPrefix(rest[at+1:], []byte("HTTP/")) || bytes.HasPrefix(rest[at+1:], []byte("SIP/")))
}

// isField reports whether line begins with a field name and a colon.
func isField(line []byte) bool {
	for i, c := range line {
		switch {
		case c == ':':
			return i > 0
		case c != '-' && !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z'):
			return false
		}
	}
	return false
}
