package heal

import (
	"fmt"
	"slices"
	"strconv"

	"smtpshim/rewrite"
)

func deferAuthFailures() rewrite.Rule {
	return rewrite.Rule{
		Name:  "defer-auth-failures",
		Heals: "senders that bounce their whole queue while the server refuses their login for a while",
		Doc: "A server answers 535 if its directory is down or a password has expired, and some senders then return every mail. The rule " +
			"changes this refusal to 454, as Postfix does for itself with smtp_sasl_auth_soft_bounce, and the mail stays in the sender's " +
			"queue. People who type a password need to see that it is wrong, and a sender that tries again may have its account locked: " +
			"name the senders in the option `clients`.",
		Symptoms: []string{"535 5.7.3 Authentication unsuccessful", "535 5.7.8 Error: authentication failed"},
		Source:   "Postfix, smtp_sasl_auth_soft_bounce; RFC 4954, 6",
		Entries:  []string{"L39"},
		Options: []rewrite.Option{{Name: "codes", Default: []string{"535"},
			Doc: "the refusals of AUTH that become 454, as in [\"535\", \"534\"]"}},
		Setup: func(o rewrite.Options) (rewrite.Actions, *rewrite.ConfigError) {
			var codes []int
			for _, text := range o.List("codes") {
				code, err := strconv.Atoi(text)
				if err != nil || code < 500 || code > 599 {
					return rewrite.Actions{}, &rewrite.ConfigError{Option: "codes", Err: fmt.Errorf("%q is no permanent refusal; write codes from \"500\" to \"599\"", text)}
				}
				codes = append(codes, code)
			}
			return rewrite.Actions{Refusals: logins, Reply: func(t *rewrite.Turn) {
				r := t.Reply()
				if t.Lost() || !slices.Contains(codes, r.Code) {
					return
				}
				refuseAs(r, 454, "4.7.0")
			}}, nil
		},
	}
}
