package heal

import (
	"errors"

	"smtpshim/rewrite"
)

func hideKeywords() rewrite.Rule {
	return rewrite.Rule{
		Name:  "hide-keywords",
		Heals: "clients that fail on an extension that the server offers, or use it wrongly",
		Doc: "The rule removes the keywords of the option `keywords` from the EHLO reply that the client gets. The server still knows them, " +
			"and the proxy still uses them. The option `clients` hides them from some clients only, such as PIPELINING from Windows 2003, " +
			"which miscounts the replies to a group of commands (KB822105). The other options are for clients that use a hidden extension " +
			"all the same, and for servers that cannot do what they offer.",
		Symptoms: []string{"554 5.6.1 Body type not supported by Remote Host", "500 Host does not support 8bitmime", "SMTPUTF8 is required, but was not offered by host"},
		Source:   "KB822105; KB Q198415; KB Q262168; KB Q252148; Exim specification, hosts_avoid_pipelining; KB320027; grommunio/gromox#275",
		Entries:  []string{"L28", "L48", "L50", "L51", "L52", "L54", "L71", "L92"},
		Options: []rewrite.Option{
			{Name: "keywords", Default: []string{}, Doc: "the keywords to hide, as in [\"PIPELINING\", \"DSN\"]"},
			{Name: "use", Default: "proxy", Values: []string{"proxy", "nobody"},
				Doc: "who may use a hidden extension; \"proxy\": the proxy, and clients that do not look; \"nobody\": it counts as not offered, so that without " +
					"PIPELINING the commands of clients that send ahead are sent one by one"},
			{Name: "refuse", Default: "never", Values: []string{"never", "always"},
				Doc: "whether the commands AUTH, ETRN, EXPN, HELP and VRFY get 502 if the keyword of that name is hidden"},
		},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			keywords := o.List("keywords")
			if len(keywords) == 0 {
				return rewrite.Actions{}, &rewrite.ConfigError{Option: "keywords", Err: errors.New(`no keyword to hide is named; write for example keywords = ["PIPELINING"]`)}
			}
			a := rewrite.Actions{}
			if o.Text("use") == "nobody" {
				a.Offer = func(_ rewrite.Session, e rewrite.Extensions) { e.Drop(keywords...) }
			} else {
				a.Replies, a.Reply = rewrite.SetOf(rewrite.VerbEHLO, rewrite.VerbLHLO), func(t *rewrite.Turn) { t.Extensions().Drop(keywords...) }
			}
			if o.Text("refuse") == "always" {
				a.Commands, a.Command = commandsOf(keywords), func(t *rewrite.Turn) {
					t.Answer(rewrite.Reply{Code: 502, Lines: []string{"5.5.1 " + t.Verb().String() + " is not offered here"}})
				}
			}
			return a, nil
		},
	}
}

// commandsOf returns the commands that have the name of one of these keywords.
func commandsOf(keywords []string) (verbs rewrite.VerbSet) {
	for _, keyword := range keywords {
		switch v := rewrite.ParseVerb([]byte(keyword)); v {
		case rewrite.VerbAUTH, rewrite.VerbETRN, rewrite.VerbEXPN, rewrite.VerbHELP, rewrite.VerbVRFY:
			verbs |= rewrite.SetOf(v)
		}
	}
	return verbs
}
