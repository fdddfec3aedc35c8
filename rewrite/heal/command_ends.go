package heal

import (
	"bytes"

	"smtpshim/rewrite"
)

func commandEnds() rewrite.Rule {
	return rewrite.Rule{
		Name:  "command-ends",
		Heals: "clients that end commands with LF alone, or with CR CR LF",
		Doc: "Scripts, and programs that write their CRLF in text mode, end commands in this way; Postfix 3.7 and Exim 4.96 accept both. " +
			"The server gets the command with CRLF. The rule does the same with lines of an AUTH exchange. It does not change BDAT, " +
			"because octets that are no lines follow it, nor any line with a CR or NUL elsewhere in it. Only CRLF.CRLF ends a message: " +
			"`lf_ends` is for clients that end messages with LF.LF.",
		Symptoms: []string{"500 5.5.2 a command ends with CRLF"},
		Source:   "RFC 5321, 2.3.8; nullmailer#76; twisted#5305; MailHog-MTA#1",
		Entries:  []string{"L63"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Line: func(_ rewrite.Session, octets []byte) []byte {
				line, ok := bytes.CutSuffix(octets, []byte("\n"))
				if !ok {
					return nil
				}
				line = bytes.TrimRight(line, "\r")
				if bytes.ContainsAny(line, "\r\x00") || rewrite.ParseVerb(line) == rewrite.VerbBDAT {
					return nil
				}
				return line
			}}, nil
		},
	}
}
