package heal

import (
	"bytes"

	"smtpshim/rewrite"
)

func commandEnds() rewrite.Rule {
	return rewrite.Rule{
		Name:  "command-ends",
		Heals: "clients that end commands with LF alone, or with CR CR LF",
		Doc: "Scripts, and programs that write their CRLF in text mode, end commands so; Postfix 3.7 and Exim 4.96 take both. The " +
			"server gets the command with CRLF. Lines of an AUTH exchange are taken likewise. BDAT is not, since octets that are no " +
			"lines follow it, and neither is any line with a CR or NUL elsewhere in it. In a message nothing but CRLF.CRLF is the end: " +
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
