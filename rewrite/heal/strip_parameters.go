package heal

import (
	"bytes"
	"slices"

	"smtpshim/rewrite"
)

// offeredBy names the extension that a parameter of MAIL or RCPT belongs to.
var offeredBy = map[string]string{"SIZE": "SIZE", "BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8", "AUTH": "AUTH",
	"RET": "DSN", "ENVID": "DSN", "NOTIFY": "DSN", "ORCPT": "DSN", "MT-PRIORITY": "MT-PRIORITY", "BY": "DELIVERBY",
	"HOLDFOR": "FUTURERELEASE", "HOLDUNTIL": "FUTURERELEASE", "SUBMITTER": "SUBMITTER", "TRANSID": "CHECKPOINT",
	"MTRK": "MTRK", "CONPERM": "CONPERM", "CONNEG": "CONNEG", "SOLICIT": "NO-SOLICITING", "RRVS": "RRVS"}

func stripParameters() rewrite.Rule {
	return rewrite.Rule{
		Name:  "strip-parameters",
		Heals: "servers that refuse a MAIL or RCPT with a parameter whose extension they have not offered",
		Doc: "Some clients say SIZE, BODY or RET to every server, and the server answers 501. A parameter of a known extension " +
			"that the server's EHLO reply does not offer is left out; after HELO all of them are. A parameter of an unknown " +
			"extension passes, and so does REQUIRETLS, without which the message must not travel. With NOTIFY and RET " +
			"the sender's wish for delivery reports is lost.",
		Symptoms: []string{"501 Parameter RET is not recognised", "501 5.1.7 Bad sender address syntax", "555 5.5.4 Unsupported option"},
		Source:   "RFC 5321, 4.1.1.11; github.com/rnwood/smtp4dev/issues/1212; github.com/andris9/simplesmtp/issues/17",
		Entries:  []string{"L21", "L37", "L40", "L50", "L51"},
		Setup: func(rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			return rewrite.Actions{Commands: rewrite.SetOf(rewrite.VerbMAIL, rewrite.VerbRCPT), Command: func(t *rewrite.Turn) {
				if !hasParameters(t.Line()) {
					return
				}
				path, ok := t.Path()
				kept := slices.DeleteFunc(slices.Clone(path.Params), func(p string) bool {
					extension := offeredBy[path.Keyword(p)]
					return extension != "" && !t.Server().Has(extension)
				})
				if ok && len(kept) < len(path.Params) {
					path.Params = kept
					t.SetPath(path)
				}
			}}, nil
		},
	}
}

// hasParameters reports whether a MAIL or RCPT command may have parameters: without
// them there is no blank in it or behind the address.
func hasParameters(line []byte) bool {
	_, path, _ := bytes.Cut(line, []byte(":"))
	return bytes.ContainsAny(bytes.TrimLeft(path, " \t\v\f"), " \t\v\f")
}
