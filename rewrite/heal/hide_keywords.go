package heal

import (
	"errors"

	"smtpshim/rewrite"
)

func hideKeywords() rewrite.Rule {
	return rewrite.Rule{
		Name:  "hide-keywords",
		Heals: "clients that fail on an extension that the server offers, or use it wrongly",
		Doc: "The keywords of the option `keywords` are taken out of the EHLO reply that the client gets. The server goes on " +
			"to know them, and the proxy to use them. With the option `clients` they are hidden from some clients only: " +
			"PIPELINING from Windows 2003, say, which counts the replies to a group wrongly (KB822105).",
		Symptoms: []string{"554 5.6.1 Body type not supported by Remote Host", "500 Host does not support 8bitmime", "SMTPUTF8 is required, but was not offered by host"},
		Source:   "KB822105; KB Q198415; KB Q262168; Exim specification, hosts_avoid_pipelining; KB320027; grommunio/gromox#275",
		Entries:  []string{"L28", "L48", "L50", "L51", "L52", "L54", "L71", "L92"},
		Options:  []rewrite.Option{{Name: "keywords", Default: []string{}, Doc: "the keywords to hide, as in [\"PIPELINING\", \"DSN\"]"}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			keywords := o.List("keywords")
			if len(keywords) == 0 {
				return rewrite.Actions{}, &rewrite.ConfigError{Option: "keywords", Err: errors.New(`no keyword to hide is named; write for example keywords = ["PIPELINING"]`)}
			}
			return rewrite.Actions{Replies: rewrite.SetOf(rewrite.VerbEHLO, rewrite.VerbLHLO), Reply: func(t *rewrite.Turn) {
				t.Extensions().Drop(keywords...)
			}}, nil
		},
	}
}
